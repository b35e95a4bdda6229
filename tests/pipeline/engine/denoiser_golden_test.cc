// The paper's sampler against golden/sdit*.safetensors (README_sdit.md there): the denoiser's own
// steps, fed with the file's noise and landmarks, must give the file's latents after every step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "pipeline/engine/override_denoiser.h"
#include "pipeline/engine/trace_denoiser.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"
#include "tests/pipeline/weights/golden.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

// The README's bound for a float32 implementation, relative to the tensor's largest value.
constexpr double kTolerance = 2e-5;

struct Golden {
  std::map<std::string, torch::Tensor> tensors;
  int64_t rows = 0, frames = 0, anchor = 0, steps = 0;
  SDiT sdit{nullptr};
};

Golden Load(const std::string& path) {
  Golden golden;
  auto file = ReadSafetensors(path);
  EXPECT_TRUE(file.ok()) << file.status();
  golden.tensors = file->tensors;
  const auto config = nlohmann::json::parse(file->metadata.at("config"));
  golden.rows = config.at("rows");
  golden.frames = config.at("frames");
  golden.anchor = config.at("anchor");
  golden.steps = config.at("steps");
  SDiTConfig sdit;
  sdit.latent_size = config.at("latent");
  sdit.patch_size = config.at("patch");
  sdit.hidden_size = config.at("dim");
  sdit.depth = config.at("depth");
  sdit.num_heads = config.at("heads");
  sdit.num_frames = golden.frames;
  sdit.clip_dim = config.at("clip_dim");
  sdit.mapping_blocks = config.at("mapping_blocks");
  sdit.num_landmarks = config.at("landmarks");
  golden.sdit = SDiT(sdit);
  const auto status = LoadWeights(*golden.sdit, WithoutPrefix(golden.tensors, "weights."));
  EXPECT_TRUE(status.ok()) << status;
  return golden;
}

// The file's rows as a plan: the anchor is frame 0, every other slot a frame of its own, numbered
// row by row. No claim about time order: the denoiser does not look at it.
RowPlan PlanOf(const Golden& golden) {
  RowPlan plan;
  plan.frames_per_row = static_cast<int>(golden.frames);
  plan.anchor_slot = static_cast<int>(golden.anchor);
  plan.num_frames = 1;
  for (int64_t b = 0; b < golden.rows; ++b) {
    std::vector<RowSlot> row;
    for (int64_t k = 0; k < golden.frames; ++k) {
      row.push_back(k == golden.anchor ? RowSlot{0, b > 0} : RowSlot{plan.num_frames++, false});
    }
    plan.rows.push_back(row);
  }
  return plan;
}

// [B, T, ...] -> [N, ...] by frame; the anchor's is row 0's.
torch::Tensor ByFrame(const Golden& golden, const RowPlan& plan, const torch::Tensor& X) {
  std::vector<torch::Tensor> frames(static_cast<size_t>(plan.num_frames));
  for (int64_t b = 0; b < golden.rows; ++b) {
    for (int64_t k = 0; k < golden.frames; ++k) {
      torch::Tensor& frame = frames[plan.rows[b][k].frame];
      if (!frame.defined()) frame = X[b][k];
    }
  }
  return torch::stack(frames);
}

double RelativeError(const torch::Tensor& got, const torch::Tensor& expected) {
  return (got - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

class DenoiserGoldenTest : public ::testing::Test {
 protected:
  // The tensors are tiny: more threads would only wait for each other.
  void SetUp() override { at::set_num_threads(1); }

  // What a denoiser is made of, from the file.
  struct Input {
    RowPlan plan;
    Conditions conditions;
    NoiseSource noise;
    Schedule schedule;
    SamplingOptions options;
  };
  static Input MakeInput(const Golden& golden, Sampler sampler) {
    RowPlan plan = PlanOf(golden);
    c10::InferenceMode inference;
    SDiT sdit = golden.sdit;
    const torch::Tensor L = golden.tensors.at("in.L").flatten(2);
    const torch::Tensor G = golden.tensors.at("in.G").unsqueeze(0).expand({golden.rows, -1});
    Conditions conditions;
    conditions.frames = FromTensors({ByFrame(golden, plan, sdit->map(G, L)), {}, {}});
    const torch::Tensor initial = ByFrame(golden, plan, golden.tensors.at("in.x_T"));
    std::vector<torch::Tensor> z;
    for (int64_t i = 0; i < golden.steps; ++i) {
      z.push_back(ByFrame(golden, plan, golden.tensors.at("in.z")[i]));
    }
    auto schedule = Schedule::Create("linear", 1000, absl::StrCat(golden.steps));
    EXPECT_TRUE(schedule.ok()) << schedule.status();
    return {.plan = std::move(plan),
            .conditions = std::move(conditions),
            .noise =
                [initial, z](int frame, int step) {
                  return step == 0 ? initial[frame] : z.at(static_cast<size_t>(step) - 1)[frame];
                },
            .schedule = *std::move(schedule),
            .options = {.sampler = sampler}};
  }

  static OverrideDenoiser Make(const Golden& golden, Sampler sampler, int max_rows) {
    const Input input = MakeInput(golden, sampler);
    auto denoiser =
        OverrideDenoiser::Create(golden.sdit, input.schedule, input.plan, input.conditions,
                                 input.noise, input.options, max_rows);
    EXPECT_TRUE(denoiser.ok()) << denoiser.status();
    return *std::move(denoiser);
  }
};

TEST_F(DenoiserGoldenTest, LatentsAfterEveryStep) {
  REENACT_GOLDEN_FILES(files, "sdit");
  for (const std::string& path : files) {
    const Golden golden = Load(path);
    for (const auto& [sampler, name] :
         {std::pair{Sampler::kDdim, "out.ddim.x"}, std::pair{Sampler::kDdpm, "out.ddpm.x"}}) {
      SCOPED_TRACE(absl::StrCat(path, " ", name));
      const torch::Tensor& expected = golden.tensors.at(name);
      OverrideDenoiser denoiser = Make(golden, sampler, static_cast<int>(golden.rows));
      ASSERT_EQ(denoiser.total_steps(), golden.steps);
      double worst = 0;
      for (int64_t i = 0; i < golden.steps; ++i) {
        const auto finished = denoiser.Step();
        ASSERT_TRUE(finished.ok()) << finished.status();
        const torch::Tensor& x = denoiser.latents();
        const double error = RelativeError(x, expected[i]);
        EXPECT_LT(error, kTolerance) << "after step " << i;
        worst = std::max(worst, error);
        // The override is exact.
        for (int64_t b = 1; b < golden.rows; ++b) {
          EXPECT_TRUE(torch::equal(x[b][golden.anchor], x[0][golden.anchor]));
        }
        EXPECT_EQ(finished->size(), i + 1 == golden.steps
                                        ? static_cast<size_t>(1 + golden.rows * (golden.frames - 1))
                                        : 0u);
      }
      RecordProperty(name, absl::StrCat(worst));
      std::cout << name << ": largest relative error " << worst << "\n";
    }
  }
}

TEST_F(DenoiserGoldenTest, PassesOfTwoRowsGiveTheSameFrames) {
  REENACT_GOLDEN_FILES(files, "sdit");
  for (const std::string& path : files) {
    const Golden golden = Load(path);
    const RowPlan plan = PlanOf(golden);
    for (const auto& [sampler, name] :
         {std::pair{Sampler::kDdim, "out.ddim.x"}, std::pair{Sampler::kDdpm, "out.ddpm.x"}}) {
      SCOPED_TRACE(absl::StrCat(path, " ", name));
      const torch::Tensor last = golden.tensors.at(name)[golden.steps - 1];
      const torch::Tensor expected = ByFrame(golden, plan, last);
      const double largest = expected.abs().max().item<double>();
      OverrideDenoiser denoiser = Make(golden, sampler, 2);
      std::vector<int> shown(static_cast<size_t>(plan.num_frames), 0);
      while (!denoiser.done()) {
        const auto finished = denoiser.Step();
        ASSERT_TRUE(finished.ok()) << finished.status();
        for (const FinishedFrame& frame : *finished) {
          ++shown[frame.frame];
          const double error =
              (frame.latent - expected[frame.frame]).abs().max().item<double>() / largest;
          EXPECT_LT(error, kTolerance) << "frame " << frame.frame;
        }
      }
      EXPECT_THAT(shown, ::testing::Each(1));
      EXPECT_EQ(denoiser.rows_run(), std::min<int64_t>(2, golden.rows) * denoiser.total_steps());
    }
  }
}

class TraceGoldenTest : public DenoiserGoldenTest {
 protected:
  // The file's frames by trace execution, in every form.
  static void Check(const std::string& path, const Golden& golden, RowExecutor& executor) {
    for (const auto& [sampler, name] :
         {std::pair{Sampler::kDdim, "out.ddim.x"}, std::pair{Sampler::kDdpm, "out.ddpm.x"}}) {
      const Input input = MakeInput(golden, sampler);
      const torch::Tensor expected =
          ByFrame(golden, input.plan, golden.tensors.at(name)[golden.steps - 1]);
      for (const TraceForm form :
           {TraceForm::kRetained, TraceForm::kLockStep, TraceForm::kRecomputed}) {
        SCOPED_TRACE(absl::StrCat(path, " ", name, " form ", static_cast<int>(form)));
        auto denoiser =
            TraceDenoiser::Create(executor, input.schedule, input.plan, input.conditions,
                                  input.noise, input.options, {.form = form, .max_active_rows = 2});
        ASSERT_TRUE(denoiser.ok()) << denoiser.status();
        std::vector<int> shown(static_cast<size_t>(input.plan.num_frames), 0);
        double worst = 0;
        while (!denoiser->done()) {
          const auto finished =
              TraceDenoiser::Step(executor, {{{&*denoiser, denoiser->demand().max_rows}}});
          ASSERT_TRUE(finished[0].ok()) << finished[0].status();
          for (const FinishedFrame& frame : *finished[0]) {
            ++shown[frame.frame];
            worst =
                std::max(worst, (frame.latent - expected[frame.frame]).abs().max().item<double>());
          }
        }
        EXPECT_LT(worst / expected.abs().max().item<double>(), kTolerance);
        EXPECT_THAT(shown, ::testing::Each(1));
      }
    }
  }
};

TEST_F(TraceGoldenTest, GivesTheSameFramesOnEveryExecutor) {
  REENACT_GOLDEN_FILES(files, "sdit");
  for (const std::string& path : files) {
    const Golden golden = Load(path);
    for (const auto& make : {MakeTorchExecutor, MakeCpuExecutor}) {
      auto executor = make(golden.sdit, {});
      ASSERT_TRUE(executor.ok()) << executor.status();
      Check(path, golden, **executor);
    }
  }
}

// The published DiT guides three channels of four and leaves the variance to each half: with that
// many channels, Guide is its forward_with_cfg. Over all four the fourth differs.
TEST(GuidanceGolden, ThreeChannelsAreDit) {
  for (const std::string& path : testing::FilesWithPrefix(testing::GoldenDir(), "dit_forward")) {
    SCOPED_TRACE(path);
    const testing::Golden golden(path);
    const torch::Tensor& both = golden.out("cfg_model");
    const auto halves = both.chunk(2);
    const torch::Tensor expected = golden.out("cfg").chunk(2)[0];
    const SDiTConfig config;
    SamplingOptions options;
    options.guidance_scale = golden.config().at("cfg_scale");
    options.guided_channels = 3;

    const torch::Tensor guided = Guide(halves[0], halves[1], config, options);

    EXPECT_TRUE(testing::Near(guided, expected, 1e-6));
    options.guided_channels = 0;
    const torch::Tensor all = Guide(halves[0], halves[1], config, options);
    EXPECT_TRUE(torch::equal(all.narrow(1, 0, 3), guided.narrow(1, 0, 3)));
    EXPECT_FALSE(torch::equal(all.select(1, 3), guided.select(1, 3)));
    EXPECT_TRUE(torch::equal(all.narrow(1, 4, 4), halves[0].narrow(1, 4, 4)));
  }
}

}  // namespace
}  // namespace reenact
