# The settings in pictures of web UIs; a picture without any; something that is no picture.
for name in lain.png usercomment.jpg none.png; do
    cp "$SOURCE/tests/golden/lora/a1111/$name" .
done
"$LX" inspect lain.png none.png
"$LX" inspect --json usercomment.jpg none.png | cut -c1-120
echo text >not.png
"$LX" inspect not.png; echo "= $?"
# A text that is not sound is left out with a word; the picture stands. Who needs the text is refused.
{ head -c 33 none.png; printf '\0\0\0\17zTXtparameters\0\7cat\0\0\0\0'; tail -c +34 none.png; } >method.png
{ head -c 33 none.png; for text in cat dog; do printf '\0\0\0\16tEXtparameters\0%s\0\0\0\0' $text; done; tail -c +34 none.png; } >twice.png
"$LX" inspect method.png twice.png; echo "= $?"
"$LX" inspect --json method.png
"$LX" sample --base none.safetensors --from method.png; echo "= $?"
