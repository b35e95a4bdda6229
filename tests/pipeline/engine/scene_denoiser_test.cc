// Clips with an anchor for each scene: anchor traces in two levels against the plain form, in which
// every row computes all of its frames and has its leader's tokens written over its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "pipeline/engine/override_denoiser.h"
#include "pipeline/engine/trace_denoiser.h"
#include "tests/pipeline/engine/tiny_clip.h"

namespace reenact::testing {
namespace {

class SceneDenoiserTest : public TinyClipTest {
 protected:
  std::unique_ptr<RowExecutor> MakeExecutor(bool deterministic = true) {
    auto executor = MakeTorchExecutor(
        sdit_, {.dtype = ExecutorDtype::kFloat32, .deterministic = deterministic});
    EXPECT_TRUE(executor.ok()) << executor.status();
    return *std::move(executor);
  }

  RowPlan MakeScenePlan(const std::vector<int>& cuts, SequencePlan kind = SequencePlan::kBalanced) {
    auto plan = PlanScenes(kFrames, static_cast<int>(config_.num_frames), cuts, kind, 0);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  TraceDenoiser Make(RowExecutor& executor, const RowPlan& plan, const SamplingOptions& options,
                     const RowSchedule::Options& order = {}) {
    auto denoiser = TraceDenoiser::Create(executor, MakeSchedule(), plan, MakeConditions(),
                                          MakeNoise(9), options, order);
    EXPECT_TRUE(denoiser.ok()) << denoiser.status();
    return *std::move(denoiser);
  }

  Frames Run(RowExecutor& executor, TraceDenoiser denoiser,
             const std::function<int(RowDemand)>& grant = nullptr) {
    Frames frames;
    while (!denoiser.done()) {
      const RowDemand demand = denoiser.demand();
      const int rows = grant ? grant(demand) : demand.max_rows;
      const auto finished = ClipDenoiser::Step(executor, {{{&denoiser, rows}}});
      EXPECT_TRUE(finished[0].ok()) << finished[0].status();
      if (!finished[0].ok()) break;
      for (const FinishedFrame& frame : *finished[0]) {
        EXPECT_TRUE(frames.emplace(frame.frame, frame.latent).second) << "shown twice";
      }
    }
    EXPECT_EQ(frames.size(), static_cast<size_t>(kFrames));
    EXPECT_EQ(denoiser.trace_bytes(), 0);
    EXPECT_EQ(denoiser.row_steps_done(), denoiser.total_row_steps());
    return frames;
  }

  // A row's tokens [T, S, D] before the first block and after each.
  using Tokens = std::vector<torch::Tensor>;

  // The network on one row, [T, out_channels, h, w]. `slot` of its tokens is that of `leader` after
  // every block, if there is one.
  torch::Tensor Predict(const Conditions& conditions, const std::vector<RowSlot>& row,
                        const torch::Tensor& x, int64_t t, bool dropped, const Tokens* leader,
                        int64_t slot, Tokens* tokens) {
    std::vector<int64_t> frames;
    for (const RowSlot& frame : row) frames.push_back(frame.frame);
    const FrameConditions of_frames = conditions.frames(frames);
    const auto T = static_cast<int64_t>(row.size());
    torch::Tensor c = (sdit_->t_embedder()(torch::full({1}, t, torch::kInt64)).unsqueeze(1) +
                       (dropped ? of_frames.C_dropped : of_frames.C).unsqueeze(0));
    torch::Tensor X =
        (sdit_->embed(x, of_frames.landmark_map) + sdit_->temporal_pos_embed()[0].unsqueeze(1))
            .unsqueeze(0);  // [1, T, S, D]
    const bool sees_source = !dropped && config_.source != SourceTokens::kNone;
    std::optional<SourceTrace> source;
    if (sees_source) {
      const torch::Tensor latent = conditions.source_latent->unsqueeze(0);
      const torch::Tensor C = conditions.source_C->unsqueeze(0);
      const torch::Tensor map = conditions.source_landmark_map->unsqueeze(0);
      if (config_.source == SourceTokens::kSelf) {
        source = sdit_->trace_source(latent, C, map);
      } else {
        const auto frame = sdit_->embed_source(latent, C, map);
        X = torch::cat({X, frame.x}, 1);
        c = torch::cat({c, frame.c}, 1);
      }
    }
    tokens->clear();
    const auto override_and_keep = [&] {
      if (leader != nullptr) X[0][slot].copy_((*leader)[tokens->size()][slot]);
      tokens->push_back(X[0].narrow(0, 0, T).clone());
    };
    override_and_keep();
    for (size_t i = 0; i < sdit_->blocks().size(); ++i) {
      DiTBlock block = sdit_->blocks()[i];
      X = block(X, c, source.has_value() ? source->blocks[i] : KeyValues());
      override_and_keep();
    }
    const torch::Tensor Y = sdit_->final_layer()(X.narrow(1, 0, T), c.narrow(1, 0, T));
    return Unpatchify(Y, config_.patch_size, config_.out_channels())[0];
  }

  Frames RunPlain(const RowPlan& plan, const SamplingOptions& options) {
    const c10::InferenceMode inference;
    const Conditions conditions = MakeConditions();
    const NoiseSource noise = MakeNoise(9);
    const Schedule schedule = MakeSchedule();
    const auto draw = [&](const std::vector<RowSlot>& row, int step) {
      std::vector<torch::Tensor> slots;
      for (const RowSlot& slot : row) slots.push_back(noise(slot.frame, step));
      return torch::stack(slots);
    };
    std::vector<SamplerState> states(plan.rows.size());
    for (size_t b = 0; b < plan.rows.size(); ++b) states[b].x = draw(plan.rows[b], 0);
    for (int i = schedule.size() - 1; i >= 0; --i) {
      std::vector<std::array<Tokens, 2>> tokens(plan.rows.size());
      for (size_t b = 0; b < plan.rows.size(); ++b) {
        const auto leader = plan.LeaderOf(static_cast<int>(b));
        const int slot = *plan.AnchorSlotOf(static_cast<int>(b));
        std::array<torch::Tensor, 2> halves;
        for (size_t half = 0; half < (options.guided() ? 2 : 1); ++half) {
          halves[half] =
              Predict(conditions, plan.rows[b], states[b].x, schedule.timestep(i), half == 1,
                      leader.has_value() ? &tokens[static_cast<size_t>(*leader)][half] : nullptr,
                      slot, &tokens[b][half]);
        }
        const torch::Tensor output =
            options.guided()
                ? Guide(halves[0], halves[1], config_.latent_channels, options.guidance_scale)
                : halves[0];
        SamplerStep(
            schedule, i, output, options, [&] { return draw(plan.rows[b], schedule.size() - i); },
            &states[b]);
      }
    }
    Frames frames;
    for (size_t b = 0; b < plan.rows.size(); ++b) {
      for (size_t k = 0; k < plan.rows[b].size(); ++k) {
        if (plan.rows[b][k].duplicate) continue;
        frames[plan.rows[b][k].frame] = states[b].x[static_cast<int64_t>(k)];
      }
    }
    return frames;
  }
};

TEST_P(SceneDenoiserTest, GivesWhatWritingOverTokensGives) {
  std::vector<std::unique_ptr<RowExecutor>> executors;
  executors.push_back(MakeExecutor(false));
  executors.push_back(MakeExecutor(true));
  if (GetParam() != SourceTokens::kJoint) {
    auto cpu = MakeCpuExecutor(sdit_, {});
    ASSERT_TRUE(cpu.ok()) << cpu.status();
    executors.push_back(*std::move(cpu));
  }
  const std::vector<std::vector<int>> all_cuts = {{}, {5}, {4, 8}, {1, 2, 3, 10}};
  for (const std::vector<int>& cuts : all_cuts) {
    for (const SequencePlan kind : {SequencePlan::kBalanced, SequencePlan::kCentralInterleaved}) {
      const RowPlan plan = MakeScenePlan(cuts, kind);
      SamplingOptions options = {.prediction = Prediction::kV};
      options.sampler = cuts.size() == 2 ? Sampler::kDdpm : Sampler::kDdim;
      options.guidance_scale = kind == SequencePlan::kBalanced ? 1.5 : 1;
      const Frames expected = RunPlain(plan, options);
      for (const TraceForm form :
           {TraceForm::kRetained, TraceForm::kLockStep, TraceForm::kRecomputed}) {
        for (size_t i = 0; i < executors.size(); ++i) {
          RowExecutor& executor = *executors[i];
          const Frames frames =
              Run(executor, Make(executor, plan, options, {.form = form, .max_active_rows = 3}));
          EXPECT_LT(Distance(frames, expected), kTolerance)
              << "form " << static_cast<int>(form) << ", " << cuts.size() << " cuts, executor "
              << i;
        }
      }
    }
  }
}

// The override of the paper is the plain form of one scene.
TEST_P(SceneDenoiserTest, OneSceneIsTheSingleAnchorToTheBit) {
  const auto executor = MakeExecutor();
  const SamplingOptions options = {.prediction = Prediction::kV};
  const RowPlan plan = MakeScenePlan({}, SequencePlan::kCentralRandom);
  const Frames single = Run(*executor, Make(*executor, MakePlan(), options));
  EXPECT_EQ(Distance(Run(*executor, Make(*executor, plan, options)), single), 0);
  EXPECT_LT(Distance(RunPlain(plan, options), RunOverride(options, MakeConditions())), kTolerance);
}

TEST_P(SceneDenoiserTest, RowsMayBeGivenOutInAnyNumbers) {
  const auto executor = MakeExecutor();
  const RowPlan plan = MakeScenePlan({3, 7});
  const SamplingOptions options = {.prediction = Prediction::kV, .guidance_scale = 2};
  const Frames expected = Run(*executor, Make(*executor, plan, options));
  std::mt19937 random(3);
  for (int run = 0; run < 5; ++run) {
    const int active = std::uniform_int_distribution(3, 8)(random);
    EXPECT_EQ(Distance(Run(*executor,
                           Make(*executor, plan, options,
                                {.max_active_rows = active, .max_first_rows = active}),
                           [&](RowDemand demand) {
                             return std::uniform_int_distribution(1, demand.max_rows)(random);
                           }),
                       expected),
              0);
  }
}

// The scenes' own frames do not matter to the first scene; its anchor does to all others.
TEST_P(SceneDenoiserTest, TheFirstSceneLeads) {
  const auto executor = MakeExecutor();
  const SamplingOptions options = {.prediction = Prediction::kV};
  const Frames linked = Run(*executor, Make(*executor, MakeScenePlan({6}), options));
  // The same rows without those of the second scene.
  RowPlan first = MakeScenePlan({6});
  const auto num_first = static_cast<size_t>(first.linked_scenes[0].first_row);
  first.rows.resize(num_first);
  first.linked_scenes.clear();
  TraceDenoiser alone = Make(*executor, first, options);
  while (!alone.done()) {
    const auto finished = ClipDenoiser::Step(*executor, {{{&alone, 1}}});
    ASSERT_TRUE(finished[0].ok());
    for (const FinishedFrame& frame : *finished[0]) {
      EXPECT_TRUE(torch::equal(frame.latent, linked.at(frame.frame)));
    }
  }
  // Another first anchor, of other noise: the second scene changes.
  auto changed =
      TraceDenoiser::Create(*executor, MakeSchedule(), MakeScenePlan({6}), MakeConditions(),
                            [this, anchor = MakeScenePlan({6}).anchor_frame](int frame, int step) {
                              return MakeNoise(frame == anchor ? 77 : 9)(frame, step);
                            },
                            options, {});
  ASSERT_TRUE(changed.ok());
  const Frames frames = Run(*executor, *std::move(changed));
  for (int frame = 6; frame < kFrames; ++frame) {
    EXPECT_FALSE(torch::equal(frames.at(frame), linked.at(frame))) << "frame " << frame;
  }
}

TEST_P(SceneDenoiserTest, KeepsTheTracesOfThreeAnchorsAtMost) {
  const auto executor = MakeExecutor();
  TraceDenoiser denoiser =
      Make(*executor, MakeScenePlan({3, 5, 7, 9}), {.prediction = Prediction::kV});
  int64_t most = 0;
  while (!denoiser.done()) {
    ASSERT_TRUE(ClipDenoiser::Step(*executor, {{{&denoiser, denoiser.demand().max_rows}}})[0].ok());
    most = std::max(most, denoiser.trace_bytes());
  }
  // Those of the first anchor; the others', whose rows follow at once, are given up sooner.
  EXPECT_GE(most, TraceDenoiser::RetainedBytes(*executor, kSteps, false, 1));
  EXPECT_LE(most, TraceDenoiser::RetainedBytes(*executor, kSteps, false, 5));
  EXPECT_EQ(TraceDenoiser::RetainedBytes(*executor, kSteps, false, 5),
            3 * TraceDenoiser::RetainedBytes(*executor, kSteps, false, 1));
}

TEST_P(SceneDenoiserTest, TheOverrideKnowsOneAnchor) {
  EXPECT_EQ(OverrideDenoiser::Create(sdit_, MakeSchedule(), MakeScenePlan({5}), MakeConditions(),
                                     MakeNoise(0), {}, 8)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Sources, SceneDenoiserTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint),
                         SourceName);

}  // namespace
}  // namespace reenact::testing
