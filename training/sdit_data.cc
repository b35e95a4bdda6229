#include "training/sdit_data.h"

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

absl::Status WriteLatents(const std::string& path, TrainedAutoencoder& autoencoder,
                          const DataCache& data, bool bfloat16) {
  const torch::Tensor latents = EncodeAll(autoencoder.network, data, bfloat16);
  return WriteSafetensors(path,
                          {{"latents", latents.to(torch::kHalf)}, {"seeds", SeedTensor(data)}},
                          {{"format", "reenact-latents-1"}});
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
  return CachedLatents{all.narrow(0, 0, data.num_people()), 1 / all.std().item<double>()};
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
                    .people = &data};
  if (!data.edits.empty()) prepared.edits = EmbedEdits(clip.network, data, *tokenizer);
  return prepared;
}

}  // namespace reenact
