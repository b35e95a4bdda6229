// What a face does, as 52 scores from 0 (not at all) to 1 (fully): MediaPipe's blendshape network
// over landmarks.
//
// Thread-compatible: one object per thread.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/network.h"

namespace reenact {

inline constexpr int kNumBlendshapes = 52;

// In the order of the scores.
inline constexpr std::array<const char*, kNumBlendshapes> kBlendshapeNames = {
    "_neutral",         "browDownLeft",      "browDownRight",      "browInnerUp",
    "browOuterUpLeft",  "browOuterUpRight",  "cheekPuff",          "cheekSquintLeft",
    "cheekSquintRight", "eyeBlinkLeft",      "eyeBlinkRight",      "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft",     "eyeLookInRight",     "eyeLookOutLeft",
    "eyeLookOutRight",  "eyeLookUpLeft",     "eyeLookUpRight",     "eyeSquintLeft",
    "eyeSquintRight",   "eyeWideLeft",       "eyeWideRight",       "jawForward",
    "jawLeft",          "jawOpen",           "jawRight",           "mouthClose",
    "mouthDimpleLeft",  "mouthDimpleRight",  "mouthFrownLeft",     "mouthFrownRight",
    "mouthFunnel",      "mouthLeft",         "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft",   "mouthPressRight",   "mouthPucker",        "mouthRight",
    "mouthRollLower",   "mouthRollUpper",    "mouthShrugLower",    "mouthShrugUpper",
    "mouthSmileLeft",   "mouthSmileRight",   "mouthStretchLeft",   "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft",      "noseSneerRight"};

class FaceBlendshapes {
 public:
  // `file`: face_blendshapes.tflite, or a .task bundle that holds it. kInvalidArgument: damaged, or
  // another network; kNotFound: a bundle without it.
  static absl::StatusOr<FaceBlendshapes> Create(std::string_view file);

  // `landmarks` in units of a picture of that size in pixels.
  std::vector<float> Run(const Landmarks& landmarks, int width, int height);

 private:
  explicit FaceBlendshapes(std::unique_ptr<Network> network) : network_(std::move(network)) {}

  std::unique_ptr<Network> network_;
};

}  // namespace reenact
