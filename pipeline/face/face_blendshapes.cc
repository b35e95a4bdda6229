#include "pipeline/face/face_blendshapes.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "pipeline/face/tflite_model.h"
#include "pipeline/face/zip.h"

namespace reenact {
namespace {

// The landmarks the network takes, in its order.
constexpr std::array<int16_t, 146> kBlendshapePoints = {
    0,   1,   4,   5,   6,   7,   8,   10,  13,  14,  17,  21,  33,  37,  39,  40,  46,  52,  53,
    54,  55,  58,  61,  63,  65,  66,  67,  70,  78,  80,  81,  82,  84,  87,  88,  91,  93,  95,
    103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157,
    158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249,
    251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310,
    311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375,
    377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409,
    415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477};

constexpr char kFileInBundle[] = "face_blendshapes.tflite";

}  // namespace

absl::StatusOr<FaceBlendshapes> FaceBlendshapes::Create(std::string_view file) {
  std::string unpacked;
  // A .tflite file may carry an archive of notes at its end, so its own mark counts first.
  if (!LooksLikeTflite(file) && LooksLikeZip(file)) {
    absl::StatusOr<std::map<std::string, std::string>> files = ReadZip(file);
    if (!files.ok()) return files.status();
    unpacked = std::move((*files)[kFileInBundle]);
    if (unpacked.empty()) {
      return absl::NotFoundError(absl::StrCat("the bundle holds no ", kFileInBundle));
    }
    file = unpacked;
  }
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Create(file);
  if (!network.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("blendshape model: ", network.status().message()));
  }
  if ((*network)->inputs().size() != 1 || (*network)->outputs().size() != 1 ||
      (*network)->inputs()[0].elements != 2 * kBlendshapePoints.size() ||
      (*network)->outputs()[0].elements != kNumBlendshapes) {
    return absl::InvalidArgumentError(
        "blendshape model: it does not make 52 numbers of 146 points");
  }
  return FaceBlendshapes(*std::move(network));
}

std::vector<float> FaceBlendshapes::Run(const Landmarks& landmarks, int width, int height) {
  const absl::Span<float> points = network_->input(0);
  for (size_t i = 0; i < kBlendshapePoints.size(); ++i) {
    const Point3& p = landmarks[static_cast<size_t>(kBlendshapePoints[i])];
    points[2 * i] = p.x * static_cast<float>(width);
    points[2 * i + 1] = p.y * static_cast<float>(height);
  }
  network_->Run();
  const absl::Span<const float> scores = network_->output(0);
  return {scores.begin(), scores.end()};
}

}  // namespace reenact
