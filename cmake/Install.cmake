# cmake --install: bin/, lib/ (libtorch's shared libraries) and share/reenact/{demo,face_models}. The tree can be moved.
if(NOT REENACT_WITH_TORCH)
  return()
endif()
set(programs reenactd reenact reenact-bundle)
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
install(TARGETS ${programs} RUNTIME DESTINATION bin)
install(DIRECTORY ${REENACT_TORCH_DIR}/lib/ DESTINATION lib FILES_MATCHING PATTERN "lib*.so*")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/.deps/mediapipe/ DESTINATION share/reenact/face_models
        FILES_MATCHING PATTERN "*.tflite")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/demo/ DESTINATION share/reenact/demo)
install(FILES LICENSE NOTICE DESTINATION share/reenact)
