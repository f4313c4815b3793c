# The settings in pictures of web UIs; a picture without any; something that is no picture.
for name in lain.png usercomment.jpg none.png; do
    cp "$SOURCE/tests/golden/lora/a1111/$name" .
done
"$LX" inspect lain.png none.png
"$LX" inspect --json usercomment.jpg none.png | cut -c1-120
echo text >not.png
"$LX" inspect not.png; echo "= $?"
