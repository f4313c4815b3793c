# Turns text files into a C header: cmake -DOUT=... "-DFILES=name=path;..." -P embed.cmake
#
# Each becomes `static const unsigned char asset_NAME[]`. Lines that name a source map are dropped: a page that
# promises to fetch nothing must not ask for one.
set(text "/* Made by src/report/assets/embed.cmake. */\n")
foreach(pair ${FILES})
  string(FIND "${pair}" "=" at)
  string(SUBSTRING "${pair}" 0 ${at} name)
  math(EXPR at "${at} + 1")
  string(SUBSTRING "${pair}" ${at} -1 path)
  file(READ ${path} hex HEX)
  # "\n//# sourceMappingURL" and "\n/*# sourceMappingURL", to the end of the file
  string(REGEX REPLACE "0a2f2[af]2320736f757263654d617070696e6755524c.*$" "0a" hex "${hex}")
  string(FIND "${hex}" "3c2f736372697074" closes) # "</script" would end its element
  if(NOT closes EQUAL -1)
    message(FATAL_ERROR "${path} holds \"</script\" and cannot stand in a page")
  endif()
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "static const unsigned char asset_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
