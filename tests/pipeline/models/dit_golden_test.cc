#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/models/dit.h"
#include "pipeline/models/sdit.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Golden;
using testing::Near;
using torch::Tensor;

constexpr double kDiTTolerance = 5e-6;
constexpr double kSDiTTolerance = 2e-5;
// float32 rounding of t * f_i at large t dominates.
constexpr double kTimestepTolerance = 3e-5;
constexpr double kBFloat16Tolerance = 5e-2;

DiTConfig ReadDiTConfig(const Golden& golden) {
  DiTConfig config;
  config.latent_channels = golden.config().value("in_channels", int64_t{4});
  config.latent_size = golden.size("input_size");
  config.patch_size = golden.size("patch_size");
  config.hidden_size = golden.size("hidden_size");
  config.depth = golden.size("depth");
  config.num_heads = golden.size("num_heads");
  config.num_classes = golden.size("num_classes");
  config.learn_sigma = golden.config().value("learn_sigma", true);
  return config;
}

TEST(DiTGoldenTest, EveryPartEqualsTheReference) {
  REENACT_GOLDEN_FILES(files, "dit_forward_");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const DiTConfig config = ReadDiTConfig(golden);
    ASSERT_TRUE(Validate(config).ok());
    DiT model(config);
    // The stored table is the formula's.
    EXPECT_TRUE(testing::NearAbsolute(SpatialPositions(config.tokens_side(), config.hidden_size),
                                      golden.at("weights.pos_embed"), 1e-6));
    const auto status = LoadWeights(*model, golden.weights());
    ASSERT_TRUE(status.ok()) << status;

    std::map<std::string, Tensor> actual;
    const Tensor &x = golden.in("x"), &t = golden.in("t"), &y = golden.in("y");
    actual["t_freq"] = TimestepFeatures(t);
    actual["t_emb"] = model->t_embedder()(t);
    actual["y_emb"] = model->label_embedding(y);
    actual["x_embed"] = model->x_embedder()(x);
    const Tensor c = model->condition(t, y);
    actual["c"] = c.squeeze(1);
    Tensor h = model->embed(x);
    actual["x_embed_plus_pos"] = h.squeeze(1);
    for (int64_t i = 0; i < config.depth; ++i) {
      auto block = model->block(i);
      const std::string name = "block" + std::to_string(i);
      const auto [msa, mlp] = block->modulations(c);
      actual[name + ".adaln"] =
          torch::cat({msa.shift, msa.scale, msa.gate, mlp.shift, mlp.scale, mlp.gate}, -1)
              .flatten(1);
      const Tensor attention = block->attn()(Modulate(Normalize(h), msa));
      actual[name + ".attn"] = attention.squeeze(1);
      const Tensor between = h + msa.gate * attention;
      actual[name + ".mlp"] = block->mlp()(Modulate(Normalize(between), mlp)).squeeze(1);
      h = block(h, c);
      actual["block." + std::to_string(i)] = h.squeeze(1);
    }
    actual["final_tokens"] = model->final_layer()(h, c).squeeze(1);
    actual["full"] = model(x, t, y);
    // Guidance feeds the first half's latents to both halves of the labels.
    const Tensor cfg_x = golden.in("cfg_x").chunk(2)[0].repeat({2, 1, 1, 1});
    actual["cfg_model"] = model(cfg_x, golden.in("cfg_t"), golden.in("cfg_y"));
    actual["cfg"] = ForwardWithCfg(model, golden.in("cfg_x"), golden.in("cfg_t"),
                                   golden.in("cfg_y"), golden.config().at("cfg_scale"));

    for (const std::string& name : golden.outputs()) {
      ASSERT_TRUE(actual.contains(name)) << "nothing to compare with out." << name;
      EXPECT_TRUE(Near(actual.at(name), golden.out(name), kDiTTolerance)) << name;
    }
    ASSERT_TRUE(golden.has("out.full") && golden.has("out.cfg"));
  }
}

struct SDiTCase {
  SDiTConfig config;
  SDiT model{nullptr};
  Tensor x, t, G, L, C;
  int64_t anchor = 0;
};

SDiTCase MakeSDiTCase(const Golden& golden) {
  SDiTCase c;
  c.config.latent_channels = golden.in("x").size(2);
  c.config.latent_size = golden.size("latent");
  c.config.patch_size = golden.size("patch");
  c.config.hidden_size = golden.size("dim");
  c.config.depth = golden.size("depth");
  c.config.num_heads = golden.size("heads");
  c.config.num_frames = golden.size("frames");
  c.config.clip_dim = golden.size("clip_dim");
  c.config.mapping_blocks = golden.size("mapping_blocks");
  c.config.num_landmarks = golden.size("landmarks");
  c.config.learn_sigma = golden.out("plain").size(2) == 2 * c.config.latent_channels;
  const absl::Status valid = Validate(c.config);
  if (!valid.ok()) throw std::runtime_error(valid.ToString());
  c.model = SDiT(c.config);
  const absl::Status loaded = LoadWeights(*c.model, golden.weights());
  if (!loaded.ok()) throw std::runtime_error(loaded.ToString());
  c.x = golden.in("x");
  c.t = golden.in("t");
  c.anchor = golden.size("anchor");
  c.L = golden.in("L").flatten(2);
  c.G = golden.in("G").expand({c.x.size(0), -1});
  c.C = c.model->map(c.G, c.L);
  return c;
}

// Frame `slot` has the same bits in every row.
bool AnchorsAreEqual(const Tensor& x, int64_t slot) {
  const Tensor anchors = x.select(1, slot);
  return torch::equal(anchors, anchors.narrow(0, 0, 1).expand_as(anchors));
}

TEST(SDiTGoldenTest, NetworkEqualsTheReference) {
  REENACT_GOLDEN_FILES(files, "sdit");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    SDiTCase c = MakeSDiTCase(golden);
    SDiT& model = c.model;
    EXPECT_TRUE(
        testing::NearAbsolute(SpatialPositions(c.config.tokens_side(), c.config.hidden_size),
                              golden.at("weights.pos_embed"), 1e-6));
    EXPECT_TRUE(testing::NearAbsolute(TemporalPositions(c.config.num_frames, c.config.hidden_size),
                                      golden.at("weights.temporal_pos_embed"), 1e-6));

    EXPECT_TRUE(Near(model->t_embedder()(c.t), golden.out("t_emb"), kTimestepTolerance));
    EXPECT_TRUE(Near(c.C, golden.out("mapping"), kSDiTTolerance));
    const Tensor null =
        model->map(model->null_clip().unsqueeze(0), model->null_lmk().view({1, 1, -1}));
    EXPECT_TRUE(Near(null.flatten(), golden.out("mapping_null"), kSDiTTolerance));
    EXPECT_TRUE(
        Near(model->forward({.x = c.x, .t = c.t, .C = c.C}), golden.out("plain"), kSDiTTolerance));

    std::vector<Tensor> trace;
    const Tensor t0 = c.t.narrow(0, 0, 1).expand_as(c.t);
    const Tensor anchored = model->forward({.x = c.x, .t = t0, .C = c.C}, c.anchor, &trace);
    EXPECT_TRUE(Near(anchored, golden.out("anchored"), kSDiTTolerance));
    EXPECT_TRUE(AnchorsAreEqual(anchored, c.anchor));
    ASSERT_EQ(trace.size(), static_cast<size_t>(c.config.depth) + 1);
    EXPECT_TRUE(Near(trace[0], golden.out("embed"), kSDiTTolerance));
    for (size_t i = 0; i < trace.size(); ++i) {
      EXPECT_TRUE(AnchorsAreEqual(trace[i], c.anchor)) << i;
      if (i == 0) continue;
      EXPECT_TRUE(Near(trace[i], golden.out("block." + std::to_string(i - 1)), kSDiTTolerance));
    }
  }
}

TEST(SDiTGoldenTest, BFloat16StaysNear) {
  REENACT_GOLDEN_FILES(files, "sdit");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    SDiTCase c = MakeSDiTCase(golden);
    c.model->to(torch::kBFloat16);
    const auto bf16 = [](const Tensor& x) { return x.to(torch::kBFloat16); };

    const Tensor C = c.model->map(bf16(c.G), bf16(c.L));
    const Tensor plain = c.model->forward({.x = bf16(c.x), .t = c.t, .C = C});

    EXPECT_EQ(plain.scalar_type(), torch::kBFloat16);
    EXPECT_TRUE(Near(C, golden.out("mapping"), kBFloat16Tolerance));
    EXPECT_TRUE(Near(plain, golden.out("plain"), kBFloat16Tolerance));
  }
}

TEST(SDiTGoldenTest, AnchoredSamplersEqualTheReference) {
  REENACT_GOLDEN_FILES(files, "sdit");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    SDiTCase c = MakeSDiTCase(golden);
    const int n = static_cast<int>(golden.size("steps"));
    const auto schedule = Schedule::Create("linear", 1000, std::to_string(n));
    ASSERT_TRUE(schedule.ok()) << schedule.status();
    ASSERT_EQ(schedule->size(), n);

    Tensor ddim = Override(golden.in("x_T"), c.anchor), ddpm = ddim;
    for (int k = 0; k < n; ++k) {
      const int i = n - 1 - k;
      const int64_t timestep = schedule->timestep(i);
      EXPECT_EQ(timestep, golden.out("timesteps")[k].item<int64_t>());
      const Tensor t = torch::full_like(c.t, timestep);

      const Tensor ddim_output = c.model->forward({.x = ddim, .t = t, .C = c.C}, c.anchor);
      ddim = DdimStep(*schedule, i, ddim, ddim_output, Prediction::kEpsilon, 0.0, {});
      EXPECT_TRUE(Near(ddim, golden.out("ddim.x")[k], kSDiTTolerance)) << "step " << k;
      EXPECT_TRUE(AnchorsAreEqual(ddim, c.anchor)) << "step " << k;

      const Tensor ddpm_output = c.model->forward({.x = ddpm, .t = t, .C = c.C}, c.anchor);
      const Tensor z = Override(golden.in("z")[k], c.anchor);
      ddpm = DdpmStep(*schedule, i, ddpm, ddpm_output, Prediction::kEpsilon, z);
      EXPECT_TRUE(Near(ddpm, golden.out("ddpm.x")[k], kSDiTTolerance)) << "step " << k;
      EXPECT_TRUE(AnchorsAreEqual(ddpm, c.anchor)) << "step " << k;
    }
  }
}

}  // namespace
}  // namespace reenact
