# What is installed, and the Debian packages made of it (script/package): lx, liblx-store0, liblx-store-dev.
include(GNUInstallDirs)

install(TARGETS lx RUNTIME DESTINATION bin COMPONENT lx)
if(TARGET lx_store_shared)
  install(TARGETS lx_store_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
    NAMELINK_COMPONENT development)
  install(FILES include/lx_store.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
  install(FILES ${PROJECT_BINARY_DIR}/lx_store.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT development)
endif()

# The shells' completion scripts are what the installed binary prints.
install(CODE "
  set(share \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
  foreach(place bash:bash-completion/completions/lx zsh:zsh/vendor-completions/_lx fish:fish/vendor_completions.d/lx.fish)
    string(REGEX MATCH \"^[a-z]+\" shell \${place})
    string(REGEX REPLACE \"^[a-z]+:\" \"\${share}/\" file \${place})
    get_filename_component(folder \${file} DIRECTORY)
    file(MAKE_DIRECTORY \${folder})
    execute_process(COMMAND \"$<TARGET_FILE:lx>\" completion \${shell} OUTPUT_FILE \${file} COMMAND_ERROR_IS_FATAL ANY)
    message(STATUS \"Installing: \${file}\")
  endforeach()" COMPONENT lx)

# docs/man as pages for man(1), where lowdown is there to set them.
find_program(LOWDOWN lowdown)
file(GLOB MAN_SOURCES CONFIGURE_DEPENDS docs/man/*.md)
set(MAN_PAGES)
if(LOWDOWN)
  foreach(source ${MAN_SOURCES})
    get_filename_component(name ${source} NAME_WLE)
    set(page ${PROJECT_BINARY_DIR}/man/${name}.gz)
    add_custom_command(OUTPUT ${page} DEPENDS ${source} package/man.sh
      COMMAND sh ${PROJECT_SOURCE_DIR}/package/man.sh ${LOWDOWN} ${source} ${PROJECT_VERSION} ${page} VERBATIM)
    list(APPEND MAN_PAGES ${page})
  endforeach()
  add_custom_target(lx_man ALL DEPENDS ${MAN_PAGES})
  install(FILES ${MAN_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT lx OPTIONAL)
endif()

install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT lx)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT lx
  PATTERN docs/man EXCLUDE)
install(DIRECTORY schema DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT lx)

# ---- Debian ----

option(LX_PACKAGE "add what a Debian package needs beside the files (script/package)" OFF)
if(NOT LX_PACKAGE)
  return()
endif()
foreach(part lx:lx library:liblx-store0 development:liblx-store-dev)
  string(REGEX MATCH "^[a-z]+" component ${part})
  string(REGEX REPLACE "^[a-z]+:" "" package ${part})
  set(documents ${PROJECT_BINARY_DIR}/package/${package})
  file(MAKE_DIRECTORY ${documents})
  execute_process(COMMAND gzip -9nc ${PROJECT_SOURCE_DIR}/package/debian/changelog
    OUTPUT_FILE ${documents}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${documents}/changelog.gz package/debian/copyright
    DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package} COMPONENT ${component})
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/lx.spdx.json DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/lx COMPONENT lx)

# Libraries that are loaded late are not found among the needed ones.
function(lx_package_of out)
  set(packages)
  foreach(library ${ARGN})
    execute_process(COMMAND dpkg-query -S "*/${library}" OUTPUT_VARIABLE owner COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCH "^[a-z0-9.+-]+" owner "${owner}")
    list(APPEND packages ${owner})
  endforeach()
  string(JOIN ", " packages ${packages})
  set(${out} ${packages} PARENT_SCOPE)
endfunction()
lx_package_of(LX_LATE libvips.so.42 ${LIBGIT2_SONAME} ${LIBMICROHTTPD_SONAME})
lx_package_of(LX_STORE_LATE ${LIBGIT2_SONAME})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lx)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
if(DEFINED ENV{DEBEMAIL})
  set(CPACK_PACKAGE_CONTACT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
else()
  set(CPACK_PACKAGE_CONTACT "The authors of lx <lx@localhost>")
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL lx library development)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_LX_PACKAGE_NAME lx)
set(CPACK_DEBIAN_LX_PACKAGE_SECTION science)
set(CPACK_DEBIAN_LX_PACKAGE_DEPENDS ${LX_LATE})
set(CPACK_COMPONENT_LX_DESCRIPTION "trainer, recorder and workbench for LoRAs of Stable Diffusion
lx trains LoRAs for Stable Diffusion 1.x with the flags of sd-scripts, records
every run in a store of its own, checks what a LoRA really learned, and
merges, resizes, extracts and converts LoRAs of any kind.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME liblx-store0)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS ${LX_STORE_LATE})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/package/debian/triggers
  ${PROJECT_SOURCE_DIR}/package/debian/shlibs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "store of training runs, as a library
Records runs of any program in the store that lx shows, compares and shares:
flags, curves, console and files.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME liblx-store-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "liblx-store0 (= ${PROJECT_VERSION})")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "store of training runs, header and pkg-config file
What a C program needs to record runs in the store of lx.")
include(CPack)
