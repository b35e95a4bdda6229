#include "pipeline/engine/landmark_tensors.h"

#include <algorithm>
#include <array>
#include <vector>

#include "pipeline/face/landmark_map.h"

namespace reenact {

static_assert(kLandmarkMapWidth == kLandmarkMapChannels);

torch::Tensor LandmarkTensor(absl::Span<const Landmarks> faces) {
  torch::Tensor all =
      torch::empty({static_cast<int64_t>(faces.size()), 3 * kNumLandmarks}, torch::kFloat);
  auto* out = all.data_ptr<float>();
  for (const Landmarks& face : faces) {
    const std::array<float, 3 * kNumLandmarks> numbers = NormalizeLandmarks(face);
    out = std::copy(numbers.begin(), numbers.end(), out);
  }
  return all;
}

torch::Tensor LandmarkMapTensor(const Landmarks& face, const SDiTConfig& config) {
  const int side = static_cast<int>(config.tokens_side());
  const auto tensor = [side](const std::vector<float>& map) {
    return torch::tensor(map, torch::kFloat).view({int64_t{side} * side, kLandmarkMapWidth});
  };
  const torch::Tensor mesh = tensor(LandmarkMap(face, side));
  return config.landmark_map_openings ? torch::cat({mesh, tensor(OpeningMap(face, side))}, 1)
                                      : mesh;
}

}  // namespace reenact
