#include "pipeline/reenactor/source_embedding.h"

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "pipeline/models/clip_preprocess.h"
#include "pipeline/reenactor/guard.h"

namespace reenact {
namespace {

using torch::Tensor;

// E of a text, [clip_dim]. `what`: which text, for the note of one that is cut.
Tensor EmbedText(const Bundle& bundle, absl::string_view what, const std::string& text,
                 std::vector<std::string>& notes) {
  bool truncated = false;
  const std::vector<int64_t> ids = bundle.tokenizer->Encode(text, &truncated);
  if (truncated) {
    notes.push_back(absl::StrCat(what, " is longer than the model's ", ids.size(),
                                 " tokens, its end was left out"));
  }
  Clip clip = bundle.clip;
  return NormalizeEmbedding(clip->text_embeds(torch::tensor(ids, torch::kInt64).unsqueeze(0)))[0];
}

}  // namespace

torch::Tensor ImageToTensor(const Image& image) {
  const torch::Tensor bytes = torch::from_blob(const_cast<uint8_t*>(image.rgb.data()),
                                               {image.height, image.width, 3}, torch::kUInt8);
  return bytes.permute({2, 0, 1}).to(torch::kFloat).div(127.5).sub(1).contiguous();
}

absl::StatusOr<SourceIdentity> EmbedIdentity(const Bundle& bundle, const SourceRequest& source,
                                             const Image& crop) {
  const bool edits = !source.edit_from.empty() || !source.edit_to.empty();
  if (edits && (crop.empty() || source.edit_from.empty() || source.edit_to.empty() ||
                !source.text.empty())) {
    return absl::InvalidArgumentError(
        "source.edit needs a picture, both texts, and no source.text beside it");
  }
  if (crop.empty() && source.text.empty()) {
    return absl::InvalidArgumentError("source has neither a picture nor a text");
  }
  return CatchErrors("embedding the source", [&]() -> absl::StatusOr<SourceIdentity> {
    const c10::InferenceMode inference;
    SourceIdentity identity;
    if (crop.empty()) {
      identity.G = IdentityInput(bundle.config.sdit,
                                 EmbedText(bundle, "source.text", source.text, identity.notes),
                                 std::nullopt);
      return identity;
    }
    Clip clip = bundle.clip;
    const int64_t size = bundle.config.clip.vision.image_size;
    if (bundle.config.sdit.source != SourceTokens::kNone) {
      AutoencoderKL autoencoder = bundle.autoencoder;
      const Moments moments = autoencoder->encode(ImageToTensor(crop).unsqueeze(0));
      identity.latent = (moments.mean * bundle.config.autoencoder.scaling_factor)[0];
    }
    const Tensor of_picture =
        NormalizeEmbedding(clip->image_embeds(ClipPreprocess(crop, size).unsqueeze(0)))[0];
    Tensor moved = of_picture;
    if (edits) {
      const Tensor from = EmbedText(bundle, "source.edit.from", source.edit_from, identity.notes);
      const Tensor to = EmbedText(bundle, "source.edit.to", source.edit_to, identity.notes);
      moved = of_picture + source.edit_strength * (to - from);
    } else if (!source.text.empty()) {
      const Tensor text = EmbedText(bundle, "source.text", source.text, identity.notes);
      moved = torch::lerp(of_picture, text, source.edit_strength);
    }
    // What moved nowhere is not rounded a second time: a text that counts for nothing gives the
    // very video of the picture alone.
    const Tensor G = moved.equal(of_picture) ? of_picture : NormalizeEmbedding(moved);
    identity.G = IdentityInput(bundle.config.sdit, G, of_picture);
    return identity;
  });
}

}  // namespace reenact
