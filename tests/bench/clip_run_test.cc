#include "tests/bench/clip_run.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/bench/gemm_peak.h"
#include "tests/bench/networks.h"

namespace reenact::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kFrames = 9;
constexpr int kSteps = 3;

SDiTConfig TinyConfig() {
  SDiTConfig config;
  config.latent_size = 8;
  config.patch_size = 2;
  config.hidden_size = 32;
  config.depth = 2;
  config.num_heads = 2;
  config.num_frames = 4;
  config.clip_dim = 16;
  return config;
}

// A tiny network on the libtorch executor.
class ClipRunTest : public ::testing::TestWithParam<std::string> {
 protected:
  ClipRunTest() : sdit_(MakeSdit(TinyConfig(), 1)) {
    auto executor = MakeTorchExecutor(sdit_, {});
    EXPECT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
  }

  ClipSpec Spec() {
    ClipSpec spec;
    spec.sdit = sdit_;
    spec.executor = executor_.get();
    spec.num_frames = kFrames;
    spec.num_steps = kSteps;
    spec.conditions = RandomConditions(sdit_, kFrames, 2);
    return spec;
  }

  ClipRun Run(Method method, const ClipSpec& spec) {
    auto run = RunClip(method, spec, nullptr);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? *std::move(run) : ClipRun();
  }

  SDiT sdit_;
  std::unique_ptr<RowExecutor> executor_;
};

TEST_P(ClipRunTest, FinishesEveryFrameOnce) {
  const ClipRun run = Run(MethodNamed(GetParam()), Spec());

  std::set<int> frames;
  for (const FinishedFrame& frame : run.frames) {
    frames.insert(frame.frame);
    EXPECT_TRUE(torch::isfinite(frame.latent).all().item<bool>());
    EXPECT_GT(frame.latent.std().item<double>(), 0);
  }
  EXPECT_EQ(run.frames.size(), static_cast<size_t>(kFrames));
  EXPECT_EQ(frames.size(), static_cast<size_t>(kFrames));
  EXPECT_GT(run.gflop, 0);
  EXPECT_LE(run.first_frames.wall, run.whole.wall);
  EXPECT_GT(run.first_frames.wall, 0);
}

INSTANTIATE_TEST_SUITE_P(Methods, ClipRunTest, ::testing::ValuesIn(MethodNames()),
                         [](const auto& test) { return test.param; });

using ClipRunPlainTest = ClipRunTest;

TEST_F(ClipRunPlainTest, AnchoredIsTheOverrideForLess) {
  const ClipRun full = Run(Method::kOverride, Spec());
  const ClipRun traced = Run(Method::kAnchored, Spec());

  EXPECT_LT(RelativeDifference(full, traced), 1e-4);
  // At T = 4, 9 frames are 3 rows; two of them save more than a quarter of their work: the anchor
  // frame's share, and attention is quadratic.
  ASSERT_EQ(traced.num_rows, 3);
  const double saved = 1 - traced.gflop / full.gflop;
  EXPECT_NEAR(saved, 2.0 / (3 * 4), 0.03);
  EXPECT_GT(traced.max_trace_bytes, 0);
  EXPECT_EQ(full.max_trace_bytes, 0);
}

TEST_F(ClipRunPlainTest, IndependentDoesTheWorkOfTheOverrideAndSharesNothing) {
  const ClipRun full = Run(Method::kOverride, Spec());
  const ClipRun independent = Run(Method::kIndependent, Spec());

  EXPECT_DOUBLE_EQ(independent.gflop, full.gflop);
  EXPECT_EQ(independent.max_trace_bytes, 0);
  EXPECT_GT(RelativeDifference(full, independent), 1e-4);
}

TEST_F(ClipRunPlainTest, OneWindowOfMultiDiffusionIsOneRow) {
  ClipSpec spec = Spec();
  spec.num_frames = 4;
  spec.conditions = RandomConditions(sdit_, 4, 2);

  EXPECT_LT(RelativeDifference(Run(Method::kMultiDiffusion, spec), Run(Method::kAnchored, spec)),
            1e-5);
}

TEST_F(ClipRunPlainTest, FirstFramesComeBeforeTheRestWithFewRowsAStep) {
  ClipSpec spec = Spec();
  spec.rows_per_step = 2;
  const ClipRun few = Run(Method::kAnchored, spec);
  const ClipRun all = Run(Method::kAnchored, Spec());

  EXPECT_GT(few.num_forwards, all.num_forwards);
  EXPECT_LT(few.first_frames.wall, few.whole.wall);
  EXPECT_LT(RelativeDifference(all, few), 1e-4);
}

TEST_F(ClipRunPlainTest, HandsOverFramesAsTheyAreFinished) {
  size_t seen = 0;
  ClipSpec spec = Spec();
  spec.rows_per_step = 2;

  const auto run = RunClip(Method::kAnchored, spec, [&](const std::vector<FinishedFrame>& frames) {
    seen += frames.size();
    return absl::OkStatus();
  });
  const auto failed = RunClip(Method::kAnchored, spec, [](const std::vector<FinishedFrame>&) {
    return absl::InternalError("decoder");
  });

  EXPECT_EQ(seen, static_cast<size_t>(kFrames));
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
}

TEST_F(ClipRunPlainTest, MultiDiffusionNeedsAWindow) {
  ClipSpec spec = Spec();
  spec.num_frames = 3;

  const auto run = RunClip(Method::kMultiDiffusion, spec, nullptr);

  EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status().message()), HasSubstr("--frames"));
}

TEST(WindowStartsTest, CoverTheClip) {
  EXPECT_THAT(WindowStarts(12, 4, 2), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(WindowStarts(9, 4, 2), ElementsAre(0, 2, 4, 5));  // the last ends with the clip
  EXPECT_THAT(WindowStarts(4, 4, 2), ElementsAre(0));
  EXPECT_THAT(WindowStarts(5, 4, 1), ElementsAre(0, 1));
}

TEST(ShapesTest, CostWhatTheReferenceCounts) {
  // GFLOP of a frame and step as the reference counts them for these shapes.
  const std::vector<std::pair<std::string, double>> expected = {
      {"demo", 1.35}, {"S/2", 15.7}, {"B/2", 53.3}, {"XL/2", 263}};
  for (const auto& [name, gflop] : expected) {
    const auto shape = FindShape(name, 0);
    ASSERT_TRUE(shape.ok());
    const double frames = static_cast<double>(shape->sdit.num_frames);

    EXPECT_NEAR(RowGflop(shape->sdit, shape->sdit.num_frames) / frames, gflop, 0.02 * gflop)
        << name;
  }
  EXPECT_EQ(FindShape("M/2", 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindShape("demo", 4)->sdit.num_frames, 4);
}

TEST(GemmTest, EveryKernelRunsInBothFormats) {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const auto speeds = MeasureGemm(dtype, 0.01, 1);

    ASSERT_GE(speeds.size(), 3u);
    for (const GemmSpeed& speed : speeds) EXPECT_GT(speed.gflop_per_s, 0) << speed.kernel;
  }
}

TEST(GemmTest, KeepsTheBestOfEachKernel) {
  std::vector<GemmSpeed> speeds = {{"oneDNN", 10}, {"own", 12}};

  Merge({{"oneDNN", 11}, {"own", 9}, {"at::linear", 5}}, speeds);

  EXPECT_EQ(Fastest(speeds).kernel, "own");
  EXPECT_EQ(Fastest(speeds).gflop_per_s, 12);
  EXPECT_EQ(FastestLibrary(speeds).kernel, "oneDNN");
  EXPECT_EQ(FastestLibrary(speeds).gflop_per_s, 11);
}

}  // namespace
}  // namespace reenact::bench
