# Every third-party library, in one place. Versions are Debian 12's; scripts/setup.sh installs them.
find_package(Threads REQUIRED)
# Everywhere alike, as a precompiled header is only used where the same macros (_REENTRANT) are defined.
add_compile_options(-pthread)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libavutil libswscale libswresample)

# Debian's OpenCV component packages carry neither a CMake nor a pkg-config file; the full one drags in a GUI.
add_library(reenact_opencv INTERFACE)
find_path(OPENCV_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
target_include_directories(reenact_opencv SYSTEM INTERFACE ${OPENCV_INCLUDE_DIR})
foreach(component imgproc core)
  find_library(OPENCV_${component} opencv_${component} REQUIRED)
  target_link_libraries(reenact_opencv INTERFACE ${OPENCV_${component}})
endforeach()

if(REENACT_WITH_TORCH)
  # libtorch last: the unpacked wheel (scripts/setup.sh), see CONTRIBUTING.md.
  if(REENACT_WITH_CUDA)
    set(REENACT_TORCH_DIR ${PROJECT_SOURCE_DIR}/.deps/libtorch-cuda CACHE PATH "Unpacked torch wheel")
  else()
    set(REENACT_TORCH_DIR ${PROJECT_SOURCE_DIR}/.deps/libtorch CACHE PATH "Unpacked torch wheel")
  endif()
  if(NOT EXISTS ${REENACT_TORCH_DIR}/lib/libtorch_cpu.so)
    if(REENACT_WITH_CUDA)
      message(FATAL_ERROR "libtorch with CUDA is not in ${REENACT_TORCH_DIR}: run scripts/setup.sh --cuda, or "
                          "configure with -DREENACT_WITH_CUDA=OFF")
    endif()
    message(FATAL_ERROR "libtorch is not in ${REENACT_TORCH_DIR}: run scripts/setup.sh, or configure with "
                        "-DREENACT_WITH_TORCH=OFF")
  endif()
  add_library(reenact_torch INTERFACE)
  target_include_directories(reenact_torch SYSTEM INTERFACE ${REENACT_TORCH_DIR}/include
                                                            ${REENACT_TORCH_DIR}/include/torch/csrc/api/include)
  target_link_libraries(reenact_torch INTERFACE ${REENACT_TORCH_DIR}/lib/libtorch_cpu.so
                                                ${REENACT_TORCH_DIR}/lib/libc10.so Threads::Threads)
  if(REENACT_WITH_CUDA)
    include(Cuda)
  endif()
  # The linker must find libtorch's own dependencies (CUDA runtime, OpenMP) while linking.
  target_link_options(reenact_torch INTERFACE -Wl,-rpath-link,${REENACT_TORCH_DIR}/lib)
  file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cc "")
  add_library(reenact_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cc)
  target_link_libraries(reenact_torch_pch PRIVATE reenact_torch reenact_warnings)
  target_precompile_headers(reenact_torch_pch PRIVATE <torch/torch.h>)
endif()

# reenact_use_torch(TARGET): links libtorch and reuses the one precompiled <torch/torch.h>.
function(reenact_use_torch target)
  get_target_property(kind ${target} TYPE)
  if(kind STREQUAL EXECUTABLE)
    target_link_libraries(${target} PRIVATE reenact_torch)
  else()
    target_link_libraries(${target} PUBLIC reenact_torch)
  endif()
  target_precompile_headers(${target} REUSE_FROM reenact_torch_pch)
endfunction()
