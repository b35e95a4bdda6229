#include "pipeline/media/image_codec.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/checkpoint_names.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_preprocess.h"
#include "pipeline/models/config_json.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using nlohmann::json;
using testing::Golden;
using testing::Near;
using torch::Tensor;

constexpr double kAutoencoderTolerance = 1e-5;
constexpr double kDeepAutoencoderTolerance = 5e-6;  // stated for two layers per block
constexpr double kClipTolerance = 5e-6;
constexpr double kPixelTolerance = 1e-6;  // absolute

// The keys of `config` that a bundle's object has.
json Subset(const json& config, const std::vector<std::string>& keys) {
  json result = json::object();
  for (const std::string& key : keys) result[key] = config.at(key);
  return result;
}

AutoencoderKLConfig ReadAutoencoderConfig(const Golden& golden) {
  const auto config = AutoencoderKLConfigFromJson(
      Subset(golden.config(), {"in_channels", "latent_channels", "block_out_channels",
                               "layers_per_block", "norm_num_groups", "scaling_factor"}));
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  return *config;
}

// The values of every output whose name begins with "SIZE.", by full name.
void RunAutoencoder(const Golden& golden, AutoencoderKL& model, const std::string& size,
                    std::map<std::string, Tensor>* actual) {
  const std::string p = size + ".";
  AutoencoderKLImpl::Trace encoder, decoder;
  const Moments moments = model->encode(golden.in(p + "x"), &encoder);
  const Tensor decoded = model->decode(golden.in(p + "z"), &decoder);
  for (const auto& [name, value] : encoder) (*actual)[p + "enc." + name] = value;
  for (const auto& [name, value] : decoder) (*actual)[p + "dec." + name] = value;
  (*actual)[p + "post_quant"] = actual->at(p + "dec.post_quant");
  (*actual)[p + "mean"] = moments.mean;
  (*actual)[p + "logvar"] = moments.logvar;
  (*actual)[p + "std"] = moments.std();
  (*actual)[p + "kl"] = moments.kl();
  (*actual)[p + "decoded"] = decoded;
  if (golden.has("in." + p + "noise")) {
    (*actual)[p + "sample"] = moments.sample(golden.in(p + "noise"));
  }
}

// Both the diffusers and the latent-diffusion files.
TEST(AutoencoderGoldenTest, EveryPartEqualsTheReference) {
  REENACT_GOLDEN_FILES(files, "vae_");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const AutoencoderKLConfig config = ReadAutoencoderConfig(golden);
    EXPECT_EQ(config.downscale(), golden.size("downscale"));
    AutoencoderKL model(config);
    const auto status = LoadWeights(*model, AutoencoderKLNames(golden.weights()));
    ASSERT_TRUE(status.ok()) << status;

    std::map<std::string, Tensor> actual;
    int num_sizes = 0;
    for (const auto& input : golden.config().at("inputs")) {
      const std::string size =
          std::to_string(input.at(1).get<int>()) + "x" + std::to_string(input.at(2).get<int>());
      if (!golden.has("in." + size + ".x")) continue;
      RunAutoencoder(golden, model, size, &actual);
      ++num_sizes;
    }
    EXPECT_GT(num_sizes, 0);
    if (golden.has("in.extreme.moments")) {
      const Moments extreme = MomentsFrom(golden.in("extreme.moments"));
      actual["extreme.mean"] = extreme.mean;
      actual["extreme.logvar"] = extreme.logvar;
      actual["extreme.std"] = extreme.std();
      actual["extreme.sample"] = extreme.sample(golden.in("extreme.noise"));
    }
    const double tolerance =
        config.layers_per_block > 1 ? kDeepAutoencoderTolerance : kAutoencoderTolerance;
    for (const std::string& name : golden.outputs()) {
      ASSERT_TRUE(actual.contains(name)) << "nothing to compare with out." << name;
      EXPECT_TRUE(Near(actual.at(name), golden.out(name), tolerance)) << name;
    }
  }
}

// The same weights under the other two names load to the same module: diffusers' old attention
// names, and latent diffusion's inside a full checkpoint.
TEST(AutoencoderGoldenTest, OldNamesLoadTheSame) {
  REENACT_GOLDEN_FILES(files, "vae_");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const AutoencoderKLConfig config = ReadAutoencoderConfig(golden);
    AutoencoderKL model(config);
    ASSERT_TRUE(LoadWeights(*model, AutoencoderKLNames(golden.weights())).ok());

    StateDictMap old_names, full;
    int num_renamed = 0;
    for (const auto& [name, tensor] : StateDict(*model)) {
      std::string old_name = name;
      for (const auto& [from, to] :
           std::map<std::string, std::string>{{".to_q.", ".query."},
                                              {".to_k.", ".key."},
                                              {".to_v.", ".value."},
                                              {".to_out.0.", ".proj_attn."}}) {
        if (const size_t at = old_name.find(from); at != std::string::npos) {
          old_name.replace(at, from.size(), to);
          ++num_renamed;
        }
      }
      old_names.emplace(old_name, tensor);
    }
    EXPECT_EQ(num_renamed, 16);
    for (const auto& [name, tensor] : golden.weights()) {
      full.emplace("first_stage_model." + name, tensor);
    }
    full.emplace("model.diffusion_model.out.weight", torch::ones({1}));

    AutoencoderKL other(config);
    for (const StateDictMap& tensors : {old_names, full}) {
      const auto status = LoadWeights(*other, AutoencoderKLNames(tensors));
      ASSERT_TRUE(status.ok()) << status;
      for (const auto& [name, tensor] : StateDict(*model)) {
        EXPECT_TRUE(torch::equal(StateDict(*other).at(name), tensor)) << name;
      }
    }
  }
}

TEST(ClipGoldenTest, BothTowersEqualTheReference) {
  REENACT_GOLDEN_FILES(files, "clip");
  const torch::NoGradGuard no_grad;
  int num_files = 0;
  for (const std::string& path : files) {
    const Golden golden(path);
    if (!golden.has("in.pixel_values")) continue;  // a preprocessing file
    SCOPED_TRACE(path);
    ++num_files;
    const auto config =
        ClipConfigFromJson(Subset(golden.config(), {"projection_dim", "vision", "text"}));
    ASSERT_TRUE(config.ok()) << config.status();
    Clip model(*config);
    const auto status = LoadWeights(*model, ClipNames(golden.weights()));
    ASSERT_TRUE(status.ok()) << status;

    std::map<std::string, Tensor> actual;
    ClipTrace vision, text;
    const Tensor images = model->image_embeds(golden.in("pixel_values"), &vision);
    const Tensor texts = model->text_embeds(golden.in("input_ids"), &text);
    for (const auto& [tower, trace] :
         std::map<std::string, ClipTrace>{{"vision", vision}, {"text", text}}) {
      for (size_t i = 0; i < trace.hidden.size(); ++i) {
        actual[tower + ".hidden." + std::to_string(i)] = trace.hidden[i];
      }
      actual[tower + ".last_hidden_state"] = trace.last_hidden_state;
      actual[tower + ".pooled"] = trace.pooled;
    }
    actual["vision.image_embeds"] = images;
    actual["text.text_embeds"] = texts;
    const Tensor unit_images = NormalizeEmbedding(images), unit_texts = NormalizeEmbedding(texts);
    actual["image_embeds_normalized"] = unit_images;
    actual["text_embeds_normalized"] = unit_texts;
    actual["logits_per_image"] =
        model->logit_scale().exp() * torch::matmul(unit_images, unit_texts.t());

    ASSERT_TRUE(golden.has("out.vision.image_embeds") && golden.has("out.text.text_embeds"));
    for (const std::string& name : golden.outputs()) {
      ASSERT_TRUE(actual.contains(name)) << "nothing to compare with out." << name;
      EXPECT_TRUE(Near(actual.at(name), golden.out(name), kClipTolerance)) << name;
    }
  }
  EXPECT_GT(num_files, 0);
}

Image FromTensor(const Tensor& tensor) {  // [H, W, 3] uint8
  Image image;
  image.height = static_cast<int>(tensor.size(0));
  image.width = static_cast<int>(tensor.size(1));
  const Tensor contiguous = tensor.contiguous();
  const uint8_t* bytes = contiguous.data_ptr<uint8_t>();
  image.rgb.assign(bytes, bytes + contiguous.numel());
  return image;
}

Image FromFile(const std::string& path) {
  auto image = DecodeImage(testing::ReadFile(path), {}, Orientation::kIgnore);
  EXPECT_TRUE(image.ok()) << path << ": " << image.status();
  return image.ok() ? *std::move(image) : Image{};
}

// Not one of the 8-bit values differs.
TEST(ClipGoldenTest, PreprocessingEqualsTheReference) {
  REENACT_GOLDEN_FILES(files, "clip_preprocess");
  for (const std::string& path : files) {
    const Golden golden(path);
    const int64_t size = golden.size("size");
    int num_compared = 0, num_images_missing = 0;
    for (const auto& item : golden.config().at("items").items()) {
      SCOPED_TRACE(path + " " + item.key());
      const json& file = item.value().at("file");
      Image image;
      if (file.is_null()) {
        image = FromTensor(golden.in(item.key() + ".u8"));
      } else {
        if (testing::DataDir().empty()) {
          ++num_images_missing;
          continue;
        }
        image = FromFile(testing::DataDir() + "/" + file.get<std::string>());
      }
      ASSERT_EQ(image.width, item.value().at("width").get<int>());
      ASSERT_EQ(image.height, item.value().at("height").get<int>());

      EXPECT_TRUE(torch::equal(ClipResize(image, size), golden.out(item.key() + ".u8")));

      for (const std::string& name : golden.outputs(item.key() + ".float_rows_")) {
        const size_t separator = name.find('_');
        const int64_t begin = std::stoll(name.substr(0, separator));
        const int64_t end = std::stoll(name.substr(separator + 1));
        EXPECT_TRUE(testing::NearAbsolute(ClipPreprocess(image, size).slice(1, begin, end),
                                          golden.out(item.key() + ".float_rows_" + name),
                                          kPixelTolerance));
      }
      ++num_compared;
    }
    EXPECT_GT(num_compared, 0);
    if (num_images_missing > 0) {
      if (testing::MustHaveData()) FAIL() << "REENACT_DATA_DIR is not there";
      GTEST_SKIP() << num_images_missing << " pictures are not there, the others were compared";
    }
  }
}

}  // namespace
}  // namespace reenact
