#include "eval/networks.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/engine/sha256.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_preprocess.h"

namespace reenact {
namespace {

Embedding ToEmbedding(const torch::Tensor& vector) {
  const torch::Tensor values = NormalizeEmbedding(vector).contiguous();
  const auto* data = values.data_ptr<float>();
  return {data, data + values.numel()};
}

// 8-bit RGB to [1, 3, H, W] in [-1, 1].
torch::Tensor ToBatch(const Image& image) {
  const torch::Tensor bytes = torch::from_blob(const_cast<uint8_t*>(image.rgb.data()),
                                               {image.height, image.width, 3}, torch::kUInt8);
  return bytes.permute({2, 0, 1}).to(torch::kFloat).div(127.5).sub(1).contiguous().unsqueeze(0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EvalNetworks>> EvalNetworks::Load(const std::string& bundle,
                                                                 const std::string& face_models) {
  auto read = ReadBundle(bundle);
  if (!read.ok()) return read.status();
  auto models = ReadFaceModels(FaceModelsFolder(face_models), bundle,
                               {read->config.landmark_detector, read->config.landmark_model});
  if (!models.ok()) return models.status();
  std::unique_ptr<EvalNetworks> networks(new EvalNetworks(*std::move(read), *std::move(models)));
  // A model that cannot be used should fail here.
  if (auto landmarker = networks->NewLandmarker(); !landmarker.ok()) return landmarker.status();
  return networks;
}

Embedding EvalNetworks::Embed(const Image& picture) const {
  c10::InferenceMode inference;
  Clip clip = bundle_.clip;
  const torch::Tensor pixels = ClipPreprocess(picture, clip->config().vision.image_size);
  return ToEmbedding(clip->image_embeds(pixels.unsqueeze(0))[0]);
}

std::vector<Embedding> EvalNetworks::Embed(const std::vector<Image>& pictures) const {
  // One by one: what is embedded beside a picture must not change its embedding's last digits.
  std::vector<Embedding> embeddings;
  embeddings.reserve(pictures.size());
  for (const Image& picture : pictures) embeddings.push_back(Embed(picture));
  return embeddings;
}

Embedding EvalNetworks::EmbedText(const std::string& text) const {
  c10::InferenceMode inference;
  Clip clip = bundle_.clip;
  const std::vector<int64_t> ids = bundle_.tokenizer->Encode(text);
  return ToEmbedding(clip->text_embeds(torch::tensor(ids, torch::kInt64).unsqueeze(0))[0]);
}

torch::Tensor EvalNetworks::Encode(const Image& picture) const {
  c10::InferenceMode inference;
  AutoencoderKL autoencoder = bundle_.autoencoder;
  const Moments moments = autoencoder->encode(ToBatch(picture));
  return (moments.mean * bundle_.config.autoencoder.scaling_factor)[0];
}

Image EvalNetworks::Reconstruct(const Image& picture) const {
  c10::InferenceMode inference;
  AutoencoderKL autoencoder = bundle_.autoencoder;
  const torch::Tensor latent = autoencoder->encode(ToBatch(picture)).mean;
  const torch::Tensor bytes = autoencoder->decode(latent)[0]
                                  .add(1)
                                  .mul(127.5)
                                  .round()
                                  .clamp(0, 255)
                                  .to(torch::kUInt8)
                                  .permute({1, 2, 0})
                                  .contiguous();
  Image image{picture.width, picture.height, {}};
  const auto* data = bytes.data_ptr<uint8_t>();
  image.rgb.assign(data, data + bytes.numel());
  return image;
}

std::string EvalNetworks::face_models_sha256() const {
  return Sha256Hex(face_models_.detector + face_models_.landmark_model);
}

absl::StatusOr<std::unique_ptr<FaceLandmarker>> EvalNetworks::NewLandmarker() const {
  FaceLandmarker::Options options;
  options.detector = face_models_.detector;
  options.landmark_model = face_models_.landmark_model;
  auto landmarker = FaceLandmarker::Create(std::move(options));
  if (!landmarker.ok()) {
    return absl::Status(landmarker.status().code(),
                        absl::StrCat("face model: ", landmarker.status().message()));
  }
  return landmarker;
}

}  // namespace reenact
