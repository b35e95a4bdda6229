# What REENACT_WITH_CUDA adds to reenact_torch: libtorch's CUDA half and the CUDA runtime with its headers, as
# scripts/setup.sh --cuda unpacks them. No CUDA compiler is needed: all kernels are libtorch's.
foreach(file lib/libtorch_cuda.so lib/libc10_cuda.so lib/libcudart.so.13 cuda/include/cuda_runtime_api.h)
  if(NOT EXISTS ${REENACT_TORCH_DIR}/${file})
    message(FATAL_ERROR "${REENACT_TORCH_DIR} has no ${file}: run scripts/setup.sh --cuda, or configure with "
                        "-DREENACT_WITH_CUDA=OFF")
  endif()
endforeach()
target_include_directories(reenact_torch SYSTEM INTERFACE ${REENACT_TORCH_DIR}/cuda/include)
# libtorch_cuda.so makes itself known to libtorch_cpu.so when it is loaded, so it must not be dropped as unused.
target_link_options(reenact_torch INTERFACE
  "SHELL:-Wl,--push-state,--no-as-needed ${REENACT_TORCH_DIR}/lib/libtorch_cuda.so -Wl,--pop-state")
target_link_libraries(reenact_torch INTERFACE ${REENACT_TORCH_DIR}/lib/libc10_cuda.so
                                              ${REENACT_TORCH_DIR}/lib/libcudart.so.13)
