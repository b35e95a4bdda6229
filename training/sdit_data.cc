#include "training/sdit_data.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/weights/safetensors.h"
#include "training/autoencoder_trainer.h"
#include "training/bpe_trainer.h"
#include "training/clip_trainer.h"

namespace reenact {
namespace {

torch::Tensor SeedTensor(const DataCache& data) {
  torch::Tensor seeds = torch::empty({data.num_people()}, torch::kInt64);
  for (int64_t p = 0; p < data.num_people(); ++p) {
    seeds[p] = static_cast<int64_t>(data.seeds[static_cast<size_t>(p)]);
  }
  return seeds;
}

}  // namespace

absl::StatusOr<torch::Tensor> FindLandmarks(const DataCache& data, FaceLandmarker& landmarker) {
  const int64_t P = data.num_people(), F = data.num_frames();
  torch::Tensor landmarks =
      torch::full({P, F, kNumLandmarks, 3}, std::numeric_limits<float>::quiet_NaN());
  for (int64_t p = 0; p < P; ++p) {
    for (int64_t f = 0; f < F; ++f) {
      const Image picture = ToImage(data.frames[p][f]);
      auto found = landmarker.Detect(picture);
      // A video's face is looked for where it was, and found better than where the detector says.
      if (found.ok() && *found) found = landmarker.Follow(picture, (*found)->landmarks);
      if (!found.ok()) return found.status();
      if (*found) StoreLandmarks((*found)->landmarks, landmarks[p][f]);
    }
  }
  return landmarks;
}

absl::Status WriteLatents(const std::string& path, TrainedAutoencoder& autoencoder,
                          const DataCache& data, bool bfloat16, const torch::Tensor& landmarks) {
  const torch::Tensor latents = EncodeAll(autoencoder.network, data, bfloat16);
  TensorMap tensors = {{"latents", latents.to(torch::kHalf)}, {"seeds", SeedTensor(data)}};
  if (landmarks.defined()) tensors["landmarks"] = landmarks;
  return WriteSafetensors(path, tensors, {{"format", "reenact-latents-1"}});
}

absl::StatusOr<CachedLatents> ReadLatents(const std::string& path, const DataCache& data) {
  auto file = ReadSafetensors(path);
  if (!file.ok()) return file.status();
  const auto latents = file->tensors.find("latents"), seeds = file->tensors.find("seeds");
  if (latents == file->tensors.end() || seeds == file->tensors.end() ||
      latents->second.dim() != 5 || latents->second.size(1) != data.num_frames() ||
      seeds->second.dim() != 1 || seeds->second.size(0) < data.num_people() ||
      latents->second.size(0) != seeds->second.size(0) ||
      !torch::equal(seeds->second.narrow(0, 0, data.num_people()), SeedTensor(data))) {
    return absl::InvalidArgumentError(absl::StrCat(path, " does not hold latents of these people"));
  }
  const torch::Tensor all = latents->second.to(torch::kFloat32);
  CachedLatents cached{all.narrow(0, 0, data.num_people()), 1 / all.std().item<double>()};
  if (const auto found = file->tensors.find("landmarks"); found != file->tensors.end()) {
    if (found->second.scalar_type() != torch::kFloat32 ||
        found->second.sizes() !=
            c10::IntArrayRef{all.size(0), data.num_frames(), kNumLandmarks, 3}) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": its landmarks do not fit"));
    }
    cached.landmarks = found->second.narrow(0, 0, data.num_people());
  }
  return cached;
}

absl::StatusOr<SditData> PrepareSditData(const DataCache& data, const CachedLatents& cached,
                                         double scaling_factor, TrainedClip& clip) {
  const auto tokenizer = ClipTokenizer::FromMerges(clip.merges, CountMerges(clip.merges));
  if (!tokenizer.ok()) return tokenizer.status();
  const torch::Tensor& latents = cached.latents;
  if (data.size() % latents.size(3) != 0) {
    return absl::InvalidArgumentError("latents and pictures do not fit");
  }
  SditData prepared{.latents = latents * scaling_factor,
                    .scaling_factor = scaling_factor,
                    .expressive = ExpressiveShare(data, latents.size(3)),
                    .image_identity = EmbedPictures(clip.network, data),
                    .text_identity = EmbedCaptions(clip.network, data, *tokenizer),
                    .found_landmarks = cached.landmarks,
                    .people = &data};
  if (!data.edits.empty()) prepared.edits = EmbedEdits(clip.network, data, *tokenizer);
  return prepared;
}

}  // namespace reenact
