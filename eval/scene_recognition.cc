#include "eval/scene_recognition.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "eval/clustering.h"
#include "eval/parallel.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_signature.h"
#include "pipeline/models/clip_preprocess.h"
#include "training/people/people.h"

namespace reenact {
namespace {

enum Kind : size_t { kClip, kSignature, kLatent, kPixels, kNumKinds };
constexpr std::array<const char*, kNumKinds> kNames = {"CLIP (the bundle's)", "face signature",
                                                       "autoencoder latents", "raw pixels"};

// The vectors of one frame.
using Vectors = std::array<std::vector<float>, kNumKinds>;

std::vector<float> ToFloats(const torch::Tensor& tensor) {
  const torch::Tensor values = tensor.to(torch::kFloat32).contiguous();
  const auto* data = values.data_ptr<float>();
  return {data, data + values.numel()};
}

Vectors VectorsOf(const Render& render, const EvalNetworks& networks) {
  const Image& image = render.image;
  const CropBox box = FaceCrop({render.landmarks}, image.width, image.height);
  const Image crop = CropImage(image, box, networks.image_size());
  Vectors vectors;
  vectors[kClip] = networks.Embed(crop);
  vectors[kLatent] = ToFloats(networks.Encode(crop));
  const int64_t clip_size = networks.bundle().config.clip.vision.image_size;
  vectors[kPixels] = ToFloats(ClipResize(crop, clip_size).to(torch::kFloat32) / 255);
  const auto signature = SignFace(image, render.landmarks);
  if (signature.has_value()) {
    vectors[kSignature].assign(signature->values.begin(), signature->values.end());
  }
  return vectors;
}

}  // namespace

absl::StatusOr<std::vector<Separation>> MeasureSeparation(const EvalNetworks& networks,
                                                          const HeldOutOptions& held_out,
                                                          int threads,
                                                          const ReportProgress& report) {
  std::vector<std::vector<Vectors>> videos(static_cast<size_t>(held_out.num_people));
  const absl::Status status =
      ParallelFor(threads, held_out.num_people, [&](int, int i) -> absl::Status {
        const uint64_t seed = held_out.first_seed + static_cast<uint64_t>(i);
        const PersonRenderer renderer(MakePerson(seed, held_out.variety));
        for (const FaceState& state : MakeClip(seed, held_out.num_frames, held_out.fps)) {
          const Render render = renderer.Draw(state, held_out.size);
          videos[static_cast<size_t>(i)].push_back(VectorsOf(render, networks));
        }
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  report(absl::StrCat("separation: ", held_out.num_people, " videos"));
  std::vector<Separation> separations;
  for (size_t kind = 0; kind < kNumKinds; ++kind) {
    LabelledPoints points;
    for (size_t v = 0; v < videos.size(); ++v) {
      for (const Vectors& vectors : videos[v]) {
        if (vectors[kind].empty()) continue;
        points.dimension = static_cast<int64_t>(vectors[kind].size());
        points.values.insert(points.values.end(), vectors[kind].begin(), vectors[kind].end());
        points.labels.push_back(static_cast<int64_t>(v));
      }
    }
    const auto davies_bouldin = DaviesBouldin(points);
    if (!davies_bouldin.ok()) return davies_bouldin.status();
    const auto calinski_harabasz = CalinskiHarabasz(points);
    if (!calinski_harabasz.ok()) return calinski_harabasz.status();
    separations.push_back({kNames[kind], *davies_bouldin, *calinski_harabasz});
  }
  return separations;
}

}  // namespace reenact
