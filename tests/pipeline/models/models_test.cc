#include <limits>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/checkpoint_names.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_preprocess.h"
#include "pipeline/models/clip_tokenizer.h"
#include "pipeline/models/config_json.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Near;
using torch::Tensor;

AutoencoderKLConfig SmallAutoencoder() {
  AutoencoderKLConfig config;
  config.block_out_channels = {8, 16};
  config.layers_per_block = 1;
  config.norm_num_groups = 4;
  return config;
}

TEST(AutoencoderTest, EveryParameterIsTrained) {
  torch::manual_seed(1);
  AutoencoderKL model(SmallAutoencoder());
  InitializeWeights(model);
  const Tensor x = torch::rand({2, 3, 16, 16}) * 2 - 1;

  const Moments moments = model->encode(x);
  const Tensor y = model->decode(moments.sample(torch::randn_like(moments.mean)));
  ((y - x).square().mean() + 1e-6 * moments.kl().mean()).backward();

  EXPECT_EQ(moments.mean.sizes(), (std::vector<int64_t>{2, 4, 8, 8}));
  EXPECT_EQ(y.sizes(), x.sizes());
  for (const auto& item : model->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
    // A constant added to every key changes no attention.
    if (item.key().ends_with("to_k.bias")) continue;
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0.0f) << item.key();
  }
}

TEST(AutoencoderTest, BFloat16StaysNear) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  AutoencoderKL model(SmallAutoencoder());
  InitializeWeights(model);
  const Tensor x = torch::rand({1, 3, 16, 16}), z = torch::randn({1, 4, 8, 8});
  const Tensor mean = model->encode(x).mean, y = model->decode(z);

  model->to(torch::kBFloat16);

  EXPECT_TRUE(Near(model->encode(x.to(torch::kBFloat16)).mean, mean, 5e-2));
  EXPECT_TRUE(Near(model->decode(z.to(torch::kBFloat16)), y, 5e-2));
}

TEST(AutoencoderTest, KlOfAStandardNormalIsZero) {
  const Moments moments{torch::zeros({2, 4, 3, 3}), torch::zeros({2, 4, 3, 3})};
  EXPECT_THAT(moments.kl()[0].item<double>(), 0);
}

ClipConfig SmallClip() {
  ClipConfig config;
  config.projection_dim = 6;
  config.vision = {.hidden_size = 16,
                   .image_size = 16,
                   .intermediate_size = 32,
                   .num_attention_heads = 2,
                   .num_hidden_layers = 2,
                   .patch_size = 8};
  config.text = {.hidden_size = 12,
                 .intermediate_size = 24,
                 .num_attention_heads = 3,
                 .num_hidden_layers = 2,
                 .vocab_size = 20,
                 .max_position_embeddings = 7,
                 .bos_token_id = 18,
                 .eos_token_id = 19};
  return config;
}

TEST(ClipTest, WhatFollowsTheEndIsIgnored) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  Clip model(SmallClip());
  InitializeWeights(model);

  const Tensor a = model->text_embeds(torch::tensor({{18, 3, 4, 19, 19, 19, 19}}));
  const Tensor b = model->text_embeds(torch::tensor({{18, 3, 4, 19, 0, 0, 0}}));
  const Tensor c = model->text_embeds(torch::tensor({{18, 4, 3, 19, 0, 0, 0}}));

  EXPECT_TRUE(Near(a, b, 1e-6));
  EXPECT_FALSE(Near(a, c, 1e-2));
}

TEST(ClipTest, EveryParameterIsTrained) {
  torch::manual_seed(1);
  Clip model(SmallClip());
  InitializeWeights(model);

  const Tensor images = NormalizeEmbedding(model->image_embeds(torch::randn({2, 3, 16, 16})));
  const Tensor texts = NormalizeEmbedding(
      model->text_embeds(torch::tensor({{18, 1, 2, 3, 4, 5, 19}, {18, 6, 7, 8, 9, 10, 19}})));
  (model->logit_scale().exp() * torch::matmul(images, texts.t())).softmax(1)[0][0].backward();

  EXPECT_TRUE(Near(images.norm(2, 1), torch::ones({2}), 1e-6));
  for (const auto& item : model->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    // A constant added to every key changes no attention.
    if (item.key().ends_with("k_proj.bias")) continue;
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0.0f) << item.key();
  }
}

Image Filled(int width, int height, uint8_t value) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.assign(static_cast<size_t>(width) * height * 3, value);
  return image;
}

TEST(ClipPreprocessTest, KeepsSizeAndConstants) {
  Image noise = Filled(8, 8, 0);
  for (size_t i = 0; i < noise.rgb.size(); ++i) noise.rgb[i] = static_cast<uint8_t>(i * 37);

  const Tensor same = ClipResize(noise, 8);

  const Tensor planar = torch::tensor(noise.rgb, torch::kUInt8).view({8, 8, 3}).permute({2, 0, 1});
  EXPECT_TRUE(torch::equal(same, planar));
  EXPECT_TRUE(torch::equal(ClipResize(Filled(31, 17, 200), 12),
                           torch::full({3, 12, 12}, 200, torch::kUInt8)));
}

// Resizing all of such a picture before cutting the square out would need 30 GB.
TEST(ClipPreprocessTest, ExtremeShapesAreCheap) {
  EXPECT_EQ(ClipResize(Filled(1, 200'000, 9), 224).size(1), 224);
  EXPECT_EQ(ClipResize(Filled(200'000, 1, 9), 224).size(2), 224);
}

// "ab" and "abc" can be made, with c at a word's end or not.
constexpr char kMerges[] = "#version: 0.2\na b\nab c\nab c</w>\na b</w>\n";

TEST(ClipTokenizerTest, MergesInOrderOfRank) {
  const auto tokenizer = ClipTokenizer::FromMerges(kMerges, 100);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const int64_t start = 512 + 4, end = start + 1, a = 'a' - 33, c_end = 256 + 'c' - 33;
  EXPECT_EQ(tokenizer->vocab_size(), end + 1);
  const auto prefix = [&](std::string_view text) {
    auto ids = tokenizer->Encode(text);
    EXPECT_EQ(ids.size(), ClipTokenizer::kLength);
    ids.resize(4);
    return ids;
  };

  EXPECT_THAT(prefix("abc"), ElementsAre(start, 514, end, end));
  EXPECT_THAT(prefix("  AB\n"), ElementsAre(start, 515, end, end));
  EXPECT_THAT(prefix("aab"), ElementsAre(start, a, 515, end));
  EXPECT_THAT(prefix("ac"), ElementsAre(start, a, c_end, end));
  EXPECT_THAT(prefix("<|endoftext|>c"), ElementsAre(start, end, c_end, end));
  EXPECT_THAT(prefix(""), ElementsAre(start, end, end, end));
}

TEST(ClipTokenizerTest, SaysWhenItCuts) {
  const auto tokenizer = ClipTokenizer::FromMerges(kMerges, 100);
  ASSERT_TRUE(tokenizer.ok());
  std::string fits, too_long;
  for (int i = 0; i < 75; ++i) fits += "z ";
  too_long = fits + "z";
  bool truncated = true;

  EXPECT_EQ(tokenizer->Encode(fits, &truncated).back(), tokenizer->end_id());
  EXPECT_FALSE(truncated);
  EXPECT_EQ(tokenizer->Encode(too_long, &truncated), tokenizer->Encode(fits));
  EXPECT_TRUE(truncated);
}

TEST(ClipTokenizerTest, AnyBytesAreText) {
  const auto tokenizer = ClipTokenizer::FromMerges(kMerges, 100);
  ASSERT_TRUE(tokenizer.ok());
  for (const std::string& text : {std::string("\xff\xfe\x80"), std::string("a\0b", 3),
                                  std::string("\xed\xa0\x80"), std::string(3000, '\'')}) {
    for (int64_t id : tokenizer->Encode(text)) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, tokenizer->vocab_size());
    }
  }
}

TEST(ClipTokenizerTest, NamesTheBadLine) {
  for (const char* merges :
       {"#version\na b\nab\n", "#version\na b\nq q q\n", "#version\na b\n\nb c\n",
        "#version\na b\nabx c\n", "#version\na b\na b\n"}) {
    const auto tokenizer = ClipTokenizer::FromMerges(merges, 100);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << merges;
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("line 3"));
  }
  EXPECT_TRUE(ClipTokenizer::FromMerges("a b\nbad", 1).ok()) << "line 2 is beyond the limit";
}

TEST(ConfigJsonTest, GoesThroughJson) {
  SDiTConfig sdit;
  sdit.latent_size = 8;
  sdit.patch_size = 2;
  sdit.hidden_size = 24;
  sdit.depth = 3;
  sdit.num_heads = 2;
  sdit.num_frames = 3;
  sdit.clip_dim = 5;
  sdit.source = SourceTokens::kSelf;
  sdit.landmark_map = true;
  sdit.landmark_map_frequencies = 3;
  sdit.landmark_map_openings = true;
  sdit.identity_change = true;
  sdit.learn_sigma = false;

  const auto sdit_again = SDiTConfigFromJson(ToJson(sdit));
  const auto autoencoder_again = AutoencoderKLConfigFromJson(ToJson(SmallAutoencoder()));
  const auto clip_again = ClipConfigFromJson(ToJson(SmallClip()));

  ASSERT_TRUE(sdit_again.ok()) << sdit_again.status();
  ASSERT_TRUE(autoencoder_again.ok()) << autoencoder_again.status();
  ASSERT_TRUE(clip_again.ok()) << clip_again.status();
  EXPECT_EQ(ToJson(*sdit_again), ToJson(sdit));
  EXPECT_EQ(ToJson(*autoencoder_again), ToJson(SmallAutoencoder()));
  EXPECT_EQ(ToJson(*clip_again), ToJson(SmallClip()));
}

TEST(ConfigJsonTest, NamesTheFault) {
  json good = ToJson(SmallAutoencoder());
  const auto error = [&](const char* key, const json& value) {
    json bad = good;
    bad[key] = value;
    const auto config = AutoencoderKLConfigFromJson(bad);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(config.status().message());
  };

  EXPECT_THAT(error("in_channels", "3"), HasSubstr("in_channels"));
  EXPECT_THAT(error("in_channels", 3.5), HasSubstr("in_channels"));
  EXPECT_THAT(error("in_channels", 0), HasSubstr("in_channels"));
  EXPECT_THAT(error("block_out_channels", {8, 9}), HasSubstr("block_out_channels"));
  EXPECT_THAT(error("block_out_channels", json::array()), HasSubstr("block_out_channels"));
  EXPECT_THAT(error("scaling_factor", -1), HasSubstr("scaling_factor"));
  EXPECT_THAT(error("colour", 1), HasSubstr("colour"));
  good.erase("block_out_channels");
  EXPECT_THAT(error("in_channels", 3), HasSubstr("lacks block_out_channels"));
  EXPECT_FALSE(AutoencoderKLConfigFromJson(json::array()).ok());
  EXPECT_FALSE(ClipConfigFromJson({{"projection_dim", 3}, {"vision", 1}, {"text", 2}}).ok());
}

TEST(CheckpointNamesTest, UnknownNamesPass) {
  const StateDictMap odd = {{"something.else", torch::ones({1})}};
  EXPECT_TRUE(AutoencoderKLNames(odd).contains("something.else"));
  EXPECT_TRUE(ClipNames(odd).contains("something.else"));
}

}  // namespace
}  // namespace reenact
