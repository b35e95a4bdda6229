// Finds the face models on disk: .tflite files that lie beside a bundle or in a folder of their
// own.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

struct FaceModels {
  std::string detector;  // content of the files
  std::string landmark_model;
  std::string blendshapes;  // of motion templates; empty: there are none
};

struct FaceModelNames {
  std::string detector = "face_detection_short_range.tflite";
  std::string landmark_model = "face_landmark_with_attention.tflite";
  // The first that is there counts; there need be none.
  std::vector<std::string> blendshapes = {"face_blendshapes.tflite",
                                          "face_landmarker_v2_with_blendshapes.task"};
};

// `folder` if not empty, else the environment variable REENACT_FACE_MODELS, else .deps/mediapipe
// below the current folder if it exists, else ../../../.deps/mediapipe beside the running program
// (a build in build/PRESET/bin).
std::string FaceModelsFolder(const std::string& folder);

// Reads each named file from `bundle_folder` (skipped if empty), else from `folder`. kNotFound
// names the files that are in neither and says where was looked.
absl::StatusOr<FaceModels> ReadFaceModels(const std::string& folder,
                                          const std::string& bundle_folder,
                                          const FaceModelNames& names);

}  // namespace reenact
