// The landmark network of a stage that looks for faces.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/reenactor/face_models.h"

namespace reenact {

inline void AddFaceModelsOption(CLI::App& command, std::string& folder) {
  command.add_option("--face-models", folder,
                     "folder of the .tflite files; by default REENACT_FACE_MODELS, else where "
                     "scripts/setup.sh puts them");
}

// kNotFound names the files that are missing.
inline absl::StatusOr<std::unique_ptr<FaceLandmarker>> OpenLandmarker(const std::string& folder) {
  const auto models = ReadFaceModels(FaceModelsFolder(folder), /*bundle_folder=*/"", {});
  if (!models.ok()) return models.status();
  return FaceLandmarker::Create(
      {.detector = models->detector, .landmark_model = models->landmark_model});
}

}  // namespace reenact
