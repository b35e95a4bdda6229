#include "pipeline/models/sdit.h"

#include <cmath>

#include "pipeline/models/attention.h"
#include "pipeline/models/checkpoint_shapes.h"
#include "pipeline/models/dit.h"
#include "pipeline/weights/load.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Near;
using testing::Randomize;
using torch::Tensor;

// Matrix products may be split differently for other batch sizes.
constexpr double kBatchTolerance = 2e-6;
// Attention with random weights is nearly uniform, so one frame more or less changes little; but
// much more than rounding.
constexpr double kVisibleDifference = 1e-4;

SDiTConfig SmallConfig(SourceTokens source) {
  SDiTConfig config;
  config.latent_size = 8;
  config.patch_size = 2;
  config.hidden_size = 24;
  config.depth = 3;
  config.num_heads = 2;
  config.num_frames = 3;
  config.clip_dim = 5;
  config.mapping_blocks = 2;
  config.num_landmarks = 7;
  config.source = source;
  config.landmark_map = source != SourceTokens::kNone;
  config.landmark_map_frequencies = config.landmark_map ? 1 : 0;
  config.landmark_map_openings = config.landmark_map;
  return config;
}

// B rows; the anchor's landmarks and map are equal in all.
SDiTInput RandomInput(SDiT& model, int64_t B, int64_t anchor = 1) {
  const SDiTConfig& config = model->config();
  const int64_t T = config.num_frames, h = config.latent_size;
  const int64_t S = config.tokens_side() * config.tokens_side();
  torch::manual_seed(3);
  SDiTInput input;
  input.x = torch::randn({B, T, config.latent_channels, h, h});
  input.t = torch::full({B}, 500, torch::kInt64);
  const Tensor G = torch::randn({1, config.clip_dim}).expand({B, -1});
  const Tensor L = Override(torch::randn({B, T, 3 * config.num_landmarks}), anchor);
  input.C = model->map(G, L);
  if (config.source != SourceTokens::kNone) {
    input.source_latent = torch::randn({1, config.latent_channels, h, h}).expand({B, -1, -1, -1});
    input.source_C = torch::randn({1, config.hidden_size}).expand({B, -1});
  }
  if (config.landmark_map) {
    input.landmark_map = Override(torch::randn({B, T, S, config.landmark_map_channels()}), anchor);
    if (config.source != SourceTokens::kNone) {
      input.source_landmark_map =
          torch::randn({1, S, config.landmark_map_channels()}).expand({B, -1, -1});
    }
  }
  return input;
}

// The rows `rows` of an input.
SDiTInput Rows(const SDiTInput& input, const std::vector<int64_t>& rows) {
  const Tensor index = torch::tensor(rows);
  const auto pick = [&](const Tensor& x) { return x.index_select(0, index); };
  const auto pick_optional = [&](const std::optional<Tensor>& x) {
    return x.has_value() ? std::make_optional(pick(*x)) : std::nullopt;
  };
  SDiTInput result;
  result.x = pick(input.x);
  result.t = pick(input.t);
  result.C = pick(input.C);
  result.source_latent = pick_optional(input.source_latent);
  result.source_C = pick_optional(input.source_C);
  result.source_mask = pick_optional(input.source_mask);
  result.landmark_map = pick_optional(input.landmark_map);
  result.source_landmark_map = pick_optional(input.source_landmark_map);
  return result;
}

class SDiTTest : public ::testing::TestWithParam<SourceTokens> {
 protected:
  SDiTTest() : model_(SmallConfig(GetParam())) { Randomize(*model_, 1); }

  const torch::NoGradGuard no_grad_;
  SDiT model_;
};

TEST_P(SDiTTest, RowZeroDoesNotSeeOtherRows) {
  const SDiTInput input = RandomInput(model_, 4);

  const Tensor all = model_(input, /*anchor_slot=*/1);
  const Tensor alone = model_(Rows(input, {0}), /*anchor_slot=*/1);

  EXPECT_TRUE(Near(all.narrow(0, 0, 1), alone, kBatchTolerance));
  // Alone, the anchor's override changes nothing.
  EXPECT_TRUE(torch::equal(alone, model_(Rows(input, {0}))));
}

TEST_P(SDiTTest, ARowDependsOnRowZeroAndItselfOnly) {
  const SDiTInput input = RandomInput(model_, 4);
  SDiTInput other = input;
  other.x = input.x.clone();
  other.x[1].normal_();
  other.x[3].normal_();

  const Tensor expected = model_(input, 1);

  // Of equal batch size, so to the bit.
  EXPECT_TRUE(torch::equal(model_(other, 1)[2], expected[2]));
  EXPECT_TRUE(Near(model_(Rows(input, {0, 2}), 1)[1], expected[2], kBatchTolerance));
  // Row 0's anchor does reach it.
  other.x[0][1].normal_();
  EXPECT_FALSE(Near(model_(other, 1)[2], expected[2], 1e-3));
}

TEST_P(SDiTTest, AnchorIsBitwiseEqualInAllRows) {
  const int64_t slot = 2;
  const SDiTInput input = RandomInput(model_, 4, slot);
  std::vector<Tensor> trace;

  const Tensor output = model_(input, slot, &trace);

  ASSERT_EQ(trace.size(), 4u);
  trace.push_back(output);
  for (const Tensor& x : trace) {
    for (int64_t b = 1; b < 4; ++b) EXPECT_TRUE(torch::equal(x[b][slot], x[0][slot]));
  }
  EXPECT_FALSE(torch::equal(output[1][0], output[0][0]));
}

TEST_P(SDiTTest, PermutingRowsPermutesOutputs) {
  const SDiTInput input = RandomInput(model_, 4);

  const Tensor expected = model_(input, 1);
  const Tensor permuted = model_(Rows(input, {0, 3, 1, 2}), 1);

  EXPECT_TRUE(
      Near(permuted, expected.index_select(0, torch::tensor({0, 3, 1, 2})), kBatchTolerance));
}

TEST_P(SDiTTest, ABatchIsItsRowsOneByOne) {
  const SDiTInput input = RandomInput(model_, 3);

  const Tensor all = model_(input);

  for (int64_t b = 0; b < 3; ++b) {
    EXPECT_TRUE(Near(model_(Rows(input, {b})), all.narrow(0, b, 1), kBatchTolerance)) << b;
  }
}

TEST_P(SDiTTest, AFreshModelSaysZero) {
  torch::manual_seed(2);
  InitializeWeights(model_);

  const Tensor output = model_(RandomInput(model_, 2), 1);

  EXPECT_EQ(output.abs().max().item<float>(), 0.0f);
  // The mapping network and the learned vectors are not idle: truncated N(0, 0.02).
  for (const auto& item : model_->named_parameters()) {
    const std::string& name = item.key();
    const bool truncated = name.starts_with("mapping") && name.ends_with("weight") &&
                           name.find("norm") == std::string::npos;
    if (!truncated && !name.starts_with("null") && !name.starts_with("source")) continue;
    const double deviation = item.value().to(torch::kFloat64).square().mean().sqrt().item<double>();
    EXPECT_LE(item.value().abs().max().item<float>(), 0.04f * 1.0001f) << name;
    // Cut at two deviations, N(0, s) has deviation 0.88 s; few values scatter widely.
    EXPECT_NEAR(deviation, 0.88 * 0.02, item.value().numel() > 200 ? 2e-3 : 1.2e-2) << name;
  }
}

TEST_P(SDiTTest, BFloat16StaysNear) {
  const SDiTInput input = RandomInput(model_, 2);
  const Tensor expected = model_(input, 1);
  const auto bf16 = [](const Tensor& x) { return x.to(torch::kBFloat16); };
  SDiTInput half = input;
  for (Tensor* x : {&half.x, &half.C}) *x = bf16(*x);
  for (auto* x :
       {&half.source_latent, &half.source_C, &half.landmark_map, &half.source_landmark_map}) {
    if (x->has_value()) *x = bf16(**x);
  }
  model_->to(torch::kBFloat16);

  const Tensor output = model_(half, 1);

  EXPECT_EQ(output.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(Near(output, expected, 5e-2));
}

TEST_P(SDiTTest, EveryParameterIsTrained) {
  const torch::AutoGradMode grad(true);
  SDiTInput input = RandomInput(model_, 2);
  const Tensor null =
      model_->map(model_->null_clip().expand({2, -1}), model_->null_lmk().expand({2, 3, -1}));

  (model_(input).square().sum() + null.square().sum()).backward();

  for (const auto& item : model_->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0.0f) << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Sources, SDiTTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint));

class SourceTest : public SDiTTest {};

TEST_P(SourceTest, SourceReachesTheFramesUnlessMasked) {
  SDiTInput input = RandomInput(model_, 2);
  const Tensor visible = model_(input);
  SDiTInput other = input;
  other.source_latent = 10 * torch::randn_like(*input.source_latent);
  EXPECT_FALSE(Near(model_(other), visible, kVisibleDifference));

  input.source_mask = other.source_mask = torch::tensor({true, false});
  const Tensor masked = model_(input), other_masked = model_(other);

  EXPECT_TRUE(Near(masked[0], visible[0], kBatchTolerance)) << "an open mask changes nothing";
  EXPECT_FALSE(Near(masked[1], visible[1], kVisibleDifference));
  EXPECT_FALSE(Near(other_masked[0], masked[0], kVisibleDifference));
  EXPECT_TRUE(torch::equal(other_masked[1], masked[1]));
}

// Without its source a model is the plain one of the same weights.
TEST_P(SourceTest, MaskedSourceLeavesThePaperModel) {
  SDiTInput input = RandomInput(model_, 2);
  input.source_mask = torch::tensor({false, false});
  SDiTConfig plain_config = model_->config();
  plain_config.source = SourceTokens::kNone;
  SDiT plain(plain_config);
  auto weights = StateDict(*model_);
  weights.erase("source_embed");
  weights.erase("source_pos");
  ASSERT_TRUE(LoadWeights(*plain, weights).ok());

  EXPECT_TRUE(Near(model_(input), plain(input), kBatchTolerance));
}

INSTANTIATE_TEST_SUITE_P(Sources, SourceTest,
                         ::testing::Values(SourceTokens::kSelf, SourceTokens::kJoint));

// What makes kSelf worth having: its keys and values are computed once per job, for one row, and
// serve every row and step.
TEST(SourceTraceTest, OneTraceServesEveryRowAndStep) {
  const torch::NoGradGuard no_grad;
  SDiT model(SmallConfig(SourceTokens::kSelf));
  Randomize(*model, 1);
  SDiTInput input = RandomInput(model, 3);
  const SDiTInput row = Rows(input, {0});
  SDiTInput traced;
  traced.x = input.x;
  traced.C = input.C;
  traced.landmark_map = input.landmark_map;
  traced.source_trace =
      model->trace_source(*row.source_latent, *row.source_C, row.source_landmark_map);

  for (int64_t t : {0, 999}) {
    input.t = traced.t = torch::full({3}, t, torch::kInt64);
    EXPECT_TRUE(Near(model(traced, 1), model(input, 1), kBatchTolerance)) << t;
  }
}

// With one frame, no temporal position and the label as the condition, sDiT is DiT.
TEST(LandmarkMapFeaturesTest, AreSinesAndCosinesOfThePlacesInsideTheMesh) {
  Tensor map = torch::zeros({2, kLandmarkMapChannels});
  map[1][15] = 1;  // cell 5
  map[1][16] = 0.25;
  map[1][17] = -0.125;

  const Tensor features = LandmarkMapFeatures(map, 2);

  ASSERT_EQ(features.sizes(), (std::vector<int64_t>{2, 192 + 2 * 256}));
  EXPECT_TRUE(torch::equal(features.narrow(1, 0, 192), map));
  EXPECT_EQ(features[0].abs().max().item<double>(), 0);
  const Tensor cells = features[1].narrow(0, 192, 512).view({2, 64, 4});
  EXPECT_EQ(cells.abs().sum(2).gt(0).sum().item<int64_t>(), 2);
  const double h = std::sqrt(0.5);
  EXPECT_TRUE(Near(cells[0][5], torch::tensor({1.0f, -float(h), 0.0f, float(h)}), 1e-6));
  EXPECT_TRUE(Near(cells[1][5], torch::tensor({0.0f, -1.0f, -1.0f, 0.0f}), 1e-6));
  EXPECT_TRUE(torch::equal(LandmarkMapFeatures(map, 0), map));
}

TEST(LandmarkMapFeaturesTest, OpeningsStandBehindTheMapAsTheyAre) {
  torch::manual_seed(1);
  const Tensor map = torch::rand({2, kLandmarkMapChannels});
  const Tensor openings = torch::rand({2, kLandmarkMapChannels});

  const Tensor features = LandmarkMapFeatures(torch::cat({map, openings}, 1), 1);

  ASSERT_EQ(features.sizes(), (std::vector<int64_t>{2, 2 * 192 + 256}));
  EXPECT_TRUE(torch::equal(features.narrow(1, 192, 192), openings));
  EXPECT_TRUE(
      torch::equal(features.narrow(1, 384, 256), LandmarkMapFeatures(map, 1).narrow(1, 192, 256)));
}

TEST(LandmarkMapFeaturesTest, AreToldByTheWeights) {
  for (const int64_t frequencies : {0, 1, 3}) {
    for (const bool openings : {false, true}) {
      SDiTConfig config = SmallConfig(SourceTokens::kSelf);
      config.landmark_map_frequencies = frequencies;
      config.landmark_map_openings = openings;

      const auto found = SDiTConfigFrom(StateDict(*SDiT(config)), config.num_heads);

      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(found->landmark_map_frequencies, frequencies);
      EXPECT_EQ(found->landmark_map_openings, openings);
    }
  }
}

TEST(IdentityInputTest, HasTheChangeBehindGWhereTheNetworkReadsIt) {
  SDiTConfig config = SmallConfig(SourceTokens::kSelf);
  const Tensor G = torch::randn({2, config.clip_dim}), own = torch::randn({2, config.clip_dim});
  EXPECT_TRUE(torch::equal(IdentityInput(config, G, own), G));
  config.identity_change = true;

  EXPECT_TRUE(torch::equal(IdentityInput(config, G, own), torch::cat({G, G - own}, 1)));
  EXPECT_TRUE(torch::equal(IdentityInput(config, G, std::nullopt),
                           torch::cat({G, torch::zeros_like(G)}, 1)));
  SDiT sdit(config);
  EXPECT_EQ(sdit->null_identity().size(0), config.identity_width());
  const auto C = [&](const Tensor& of) {
    return sdit->map(IdentityInput(config, G, of), torch::zeros({2, 1, 3 * config.num_landmarks}));
  };
  EXPECT_FALSE(torch::allclose(C(own), C(G)));
}

TEST(IdentityInputTest, IsToldByTheWeightsAndNeedsASource) {
  for (const bool change : {false, true}) {
    SDiTConfig config = SmallConfig(SourceTokens::kSelf);
    config.identity_change = change;

    const auto found = SDiTConfigFrom(StateDict(*SDiT(config)), config.num_heads);

    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->identity_change, change);
    EXPECT_EQ(found->clip_dim, config.clip_dim);
  }
  SDiTConfig config = SmallConfig(SourceTokens::kNone);
  config.identity_change = true;
  EXPECT_NE(Validate(config).message().find("identity_change needs"), absl::string_view::npos);
}

TEST(LandmarkMapFeaturesTest, AreRefusedWithoutAMap) {
  SDiTConfig config = SmallConfig(SourceTokens::kNone);
  config.landmark_map_frequencies = 1;
  EXPECT_NE(Validate(config).message().find("landmark_map"), absl::string_view::npos);
  config = SmallConfig(SourceTokens::kNone);
  config.landmark_map_openings = true;
  EXPECT_NE(Validate(config).message().find("landmark_map_openings need"), absl::string_view::npos);
  config = SmallConfig(SourceTokens::kSelf);
  for (const int64_t frequencies : {-1, 9}) {
    config.landmark_map_frequencies = frequencies;
    EXPECT_NE(Validate(config).message().find("0 to 8"), absl::string_view::npos) << frequencies;
  }
  config.landmark_map_frequencies = 8;
  EXPECT_TRUE(Validate(config).ok());
}

TEST(SDiTAndDiTTest, OneFrameIsDiT) {
  const torch::NoGradGuard no_grad;
  DiTConfig dit_config;
  dit_config.latent_size = 8;
  dit_config.patch_size = 2;
  dit_config.hidden_size = 24;
  dit_config.depth = 2;
  dit_config.num_heads = 3;
  dit_config.num_classes = 4;
  DiT dit(dit_config);
  Randomize(*dit, 5);
  SDiTConfig config;
  config.latent_size = 8;
  config.patch_size = 2;
  config.hidden_size = 24;
  config.depth = 2;
  config.num_heads = 3;
  config.num_frames = 1;
  config.clip_dim = 5;
  SDiT sdit(config);
  auto weights = StateDict(*sdit);
  for (const auto& [name, tensor] : StateDict(*dit)) {
    if (weights.contains(name)) weights[name] = tensor;
  }
  weights["temporal_pos_embed"] = torch::zeros({1, 1, 24});
  ASSERT_TRUE(LoadWeights(*sdit, weights).ok());
  const Tensor x = torch::randn({3, 4, 8, 8});
  const Tensor t = torch::tensor({0, 500, 999}), y = torch::tensor({0, 2, 4});

  const Tensor sequence =
      sdit->forward({.x = x.unsqueeze(1), .t = t, .C = dit->label_embedding(y).unsqueeze(1)});

  EXPECT_TRUE(torch::equal(sequence.squeeze(1), dit(x, t, y)));
}

TEST(DiTTest, AFreshModelSaysZeroAndItsBlocksAreTheIdentity) {
  const torch::NoGradGuard no_grad;
  DiTConfig config;
  config.latent_size = 8;
  config.patch_size = 4;
  config.hidden_size = 16;
  config.depth = 2;
  config.num_heads = 2;
  config.num_classes = 3;
  DiT model(config);
  Randomize(*model, 1);
  torch::manual_seed(1);
  InitializeWeights(model);
  const Tensor x = torch::randn({2, 4, 8, 8}), t = torch::tensor({1, 2}), y = torch::tensor({0, 3});

  const Tensor tokens = model->embed(x);
  EXPECT_TRUE(torch::equal(model->block(0)(tokens, model->condition(t, y)), tokens));
  EXPECT_EQ(model(x, t, y).abs().max().item<float>(), 0.0f);
  EXPECT_NEAR(model->label_table().std().item<double>(), 0.02, 5e-3);
}

TEST(OverrideTest, CopiesRowZerosSlot) {
  const Tensor x = torch::arange(12).view({2, 3, 2});

  const Tensor y = Override(x, 1);

  EXPECT_TRUE(torch::equal(y[0], x[0]));
  EXPECT_TRUE(torch::equal(y[1], torch::tensor({{6, 7}, {2, 3}, {10, 11}})));
  EXPECT_TRUE(torch::equal(x, torch::arange(12).view({2, 3, 2}))) << "the argument is kept";
}

TEST(AttentionTest, FusedEqualsTheFormula) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  for (int64_t head_size : {8, 24, 72}) {  // 72 as in DiT-XL: no multiple of 16
    const Tensor q = torch::randn({2, 3, 20, head_size});
    const Tensor k = torch::randn({2, 3, 28, head_size}), v = torch::randn({2, 3, 28, head_size});
    const Tensor mask = torch::rand({2, 1, 1, 28}) < 0.5;
    mask.select(3, 0).fill_(true);  // no query without a key

    EXPECT_TRUE(Near(FusedAttention(q, k, v), ReferenceAttention(q, k, v), 2e-6));
    EXPECT_TRUE(Near(FusedAttention(q, k, v, mask), ReferenceAttention(q, k, v, mask), 2e-6));
    EXPECT_TRUE(
        Near(FusedAttention(q, q, q, {}, true), ReferenceAttention(q, q, q, {}, true), 2e-6));
    EXPECT_FALSE(Near(FusedAttention(q, k, v, mask), FusedAttention(q, k, v), 1e-2));
    const auto bf16 = [](const Tensor& x) { return x.to(torch::kBFloat16); };
    EXPECT_TRUE(Near(FusedAttention(bf16(q), bf16(k), bf16(v)), ReferenceAttention(q, k, v), 2e-2));
  }
}

}  // namespace
}  // namespace reenact
