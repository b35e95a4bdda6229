// Reads a driving file into a motion template: what the tracker sees goes straight into the file,
// frame by frame.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pipeline/driving/face_source.h"
#include "pipeline/face/face_blendshapes.h"
#include "pipeline/motion_extraction.h"

namespace reenact {

struct TemplateMakerOptions {
  int64_t max_bytes = 0;     // of the driving file
  FaceSourceOptions source;  // one face
  std::string landmark_model_sha256;
};

// `blendshapes`: none, and the template has none. A motion template as the driving file is
// kInvalidArgument.
std::unique_ptr<MotionExtraction> MakeTemplateMaker(const TemplateMakerOptions& options,
                                                    std::unique_ptr<FaceLandmarker> landmarker,
                                                    std::optional<FaceBlendshapes> blendshapes);

}  // namespace reenact
