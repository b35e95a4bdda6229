# reenact_warnings: the compiler's checks for our own code. -Werror comes from the preset, not from here.
add_library(reenact_warnings INTERFACE)
target_compile_options(reenact_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                                  -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(reenact_warnings INTERFACE -Wthread-safety)
endif()

# Sanitizers are for the whole program, third-party static code included.
if(REENACT_SANITIZE)
  add_compile_options(-fsanitize=${REENACT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${REENACT_SANITIZE})
endif()

# reenact_library(NAME SOURCES...): a static library with alias reenact::NAME and includes from the root.
function(reenact_library name)
  add_library(reenact_${name} STATIC ${ARGN})
  add_library(reenact::${name} ALIAS reenact_${name})
  target_include_directories(reenact_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(reenact_${name} PRIVATE reenact_warnings)
endfunction()
