// Layers without values are those with values, but for the values.
#include "pipeline/models/layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "pipeline/models/sdit.h"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

using torch::Tensor;

TEST(UndefinedLayersTest, AreLinearAndEmbeddingLayers) {
  torch::nn::Linear linear{nullptr}, plain{nullptr};
  torch::nn::Embedding embedding{nullptr};
  {
    const ScopedUndefinedLayers undefined;
    linear = MakeLinear(3, 5);
    plain = MakeLinear(3, 5, /*bias=*/false);
    embedding = MakeEmbedding(7, 2);
  }
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({4, 3}), weight = torch::randn({5, 3}), bias = torch::randn({5});
  for (torch::nn::Linear& layer : {std::ref(linear), std::ref(plain)}) {
    ASSERT_EQ(layer->weight.sizes(), weight.sizes());
    EXPECT_TRUE(layer->weight.requires_grad());
    EXPECT_EQ(layer->options.in_features(), 3);
    EXPECT_EQ(layer->options.out_features(), 5);
    layer->weight.copy_(weight);
  }
  linear->bias.copy_(bias);
  EXPECT_FALSE(plain->bias.defined());
  EXPECT_TRUE(torch::equal(linear(x), torch::linear(x, weight, bias)));
  EXPECT_TRUE(torch::equal(plain(x), torch::linear(x, weight)));

  const Tensor table = torch::randn({7, 2});
  ASSERT_EQ(embedding->weight.sizes(), table.sizes());
  embedding->weight.copy_(table);
  EXPECT_TRUE(torch::equal(embedding(torch::tensor({6, 0})), table.index({torch::tensor({6, 0})})));
}

TEST(UndefinedLayersTest, HaveValuesOutsideOfTheScope) {
  { const ScopedUndefinedLayers undefined; }
  torch::manual_seed(1);
  const torch::nn::Linear made = MakeLinear(6, 4);
  torch::manual_seed(1);
  const torch::nn::Linear expected(6, 4);
  EXPECT_TRUE(torch::equal(made->weight, expected->weight));
  EXPECT_TRUE(torch::equal(made->bias, expected->bias));
}

TEST(UndefinedLayersTest, ALoadedNetworkIsTheOneThatWasStored) {
  const SDiTConfig config = [] {
    SDiTConfig small;
    small.latent_size = 8;
    small.patch_size = 4;
    small.hidden_size = 32;
    small.depth = 2;
    small.num_heads = 2;
    small.num_frames = 2;
    small.clip_dim = 16;
    small.mapping_blocks = 1;
    small.source = SourceTokens::kSelf;
    small.landmark_map = true;
    return small;
  }();
  SDiT original(config);
  InitializeWeights(original);

  SDiT undefined{nullptr};
  {
    const ScopedUndefinedLayers scope;
    undefined = SDiT(config);
  }
  ASSERT_TRUE(ShareWeights(*undefined, StateDict(*original)).ok());

  const std::map<std::string, Tensor> expected = StateDict(*original);
  const std::map<std::string, Tensor> loaded = StateDict(*undefined);
  ASSERT_EQ(loaded.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(torch::equal(loaded.at(name), tensor)) << name;
  }
}

}  // namespace
}  // namespace reenact
