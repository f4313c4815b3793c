# How lx is compiled and linked beside its warnings: against defects being used, and so that two builds are equal.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)

check_pie_supported(LANGUAGES C)

# lx_compile(FLAG VARIABLE) - FLAG for all of lx, if this compiler knows it
function(lx_compile flag variable)
  check_c_compiler_flag("${flag}" ${variable})
  if(${variable})
    target_compile_options(lx_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:${flag}>)
  endif()
endfunction()

# lx_link(FLAG VARIABLE) - likewise for the linker
function(lx_link flag variable)
  check_linker_flag(C "${flag}" ${variable})
  if(${variable})
    target_link_options(lx_flags INTERFACE "${flag}")
  endif()
endfunction()

if(LX_COVERAGE)
  # Kernels are not counted, so that they stay as fast as they are.
  target_compile_options(lx_flags INTERFACE
    $<$<NOT:$<STREQUAL:$<TARGET_PROPERTY:NAME>,lx_kernels>>:--coverage;-fprofile-abs-path;-fprofile-update=atomic>)
  # What a child counted is written when it ends by _exit or becomes another program, too
  # (tests/support/coverage/exit.c).
  target_link_options(lx_flags INTERFACE --coverage -Wl,--wrap=_exit,--wrap=execl,--wrap=execlp,--wrap=execv,--wrap=execvp)
elseif(LX_HARDEN AND NOT LX_SANITIZE AND NOT LX_FUZZ AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  # Some distributions define the macro themselves, at a lower level.
  target_compile_options(lx_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-U_FORTIFY_SOURCE> $<$<COMPILE_LANGUAGE:C>:-D_FORTIFY_SOURCE=3>)
  lx_compile(-fstack-protector-strong LX_HAS_STACK_PROTECTOR)
  lx_compile(-fstack-clash-protection LX_HAS_STACK_CLASH)
  lx_compile(-fcf-protection LX_HAS_CF_PROTECTION)
  lx_compile(-Werror=format-security LX_HAS_FORMAT_SECURITY)
  # Not -ftrivial-auto-var-init: gcc 12 makes wrong code of an array that is initialised by functions which return
  # structs (unit/format/torch_write fails).
  lx_link(-Wl,-z,relro LX_HAS_RELRO)
  lx_link(-Wl,-z,now LX_HAS_NOW)
  lx_link(-Wl,-z,noexecstack LX_HAS_NOEXECSTACK)
  lx_link(-Wl,--as-needed LX_HAS_AS_NEEDED)
endif()

# The folder a binary was built in must not be in it. Of two maps that fit the last one holds.
if(NOT LX_COVERAGE)
  target_compile_options(lx_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-ffile-prefix-map=${PROJECT_BINARY_DIR}=build>
    $<$<COMPILE_LANGUAGE:C>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.>)
endif()
