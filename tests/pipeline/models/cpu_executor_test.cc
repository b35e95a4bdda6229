#include "pipeline/models/cpu_executor.h"

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/pipeline/models/random_rows.h"

namespace reenact {
namespace {

using testing::Expected;
using testing::ExpectNear;
using testing::Job;
using testing::MakeRows;
using testing::RandomJob;
using testing::RandomSDiT;
using testing::Shape;
using torch::Tensor;

// Against SDiT::forward in float32, relative to the largest output. Measured over the cases below:
// at most 1.4e-6, and 1.5e-2 in bfloat16, which keeps 8 bits.
double Tolerance(ExecutorDtype dtype) { return dtype == ExecutorDtype::kFloat32 ? 1e-5 : 3e-2; }

void ExpectEqual(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(torch::equal(actual[i], expected[i])) << "row " << i;
  }
}

class CpuExecutorTest : public ::testing::TestWithParam<std::tuple<CpuPath, ExecutorDtype>> {
 protected:
  void SetUp() override {
    if (path() == CpuPath::kNative && !HasNativeCpuPath(RandomSDiT({})->config(), dtype())) {
      GTEST_SKIP() << "this processor lacks the instructions";
    }
  }
  CpuPath path() const { return std::get<0>(GetParam()); }
  ExecutorDtype dtype() const { return std::get<1>(GetParam()); }

  std::unique_ptr<RowExecutor> Make(const SDiT& sdit, bool deterministic = false) const {
    auto executor =
        MakeCpuExecutor(sdit, {.dtype = dtype(), .deterministic = deterministic}, path());
    return std::move(executor.value());
  }

  // Runs a job of 3 rows and compares.
  void Check(const Shape& shape, bool source_hidden = false) {
    SDiT sdit = RandomSDiT(shape);
    auto executor = Make(sdit);
    Job job = RandomJob(sdit, 7, /*num_rows=*/3, /*anchor=*/shape.num_frames / 2, /*t=*/400,
                        source_hidden);
    MakeRows(*executor, &job);

    const auto actual = executor->Forward(job.rows);

    ExpectNear(actual, Expected(sdit, job), Tolerance(dtype()));
    EXPECT_LE(job.trace.bytes(), executor->trace_bytes());
  }
};

TEST_P(CpuExecutorTest, EqualsTheOverrideForHeadsOf32) { Check({.head_size = 32}); }
TEST_P(CpuExecutorTest, EqualsTheOverrideForHeadsOf64) { Check({.head_size = 64}); }
TEST_P(CpuExecutorTest, EqualsTheOverrideForHeadsOf72) { Check({.head_size = 72}); }
TEST_P(CpuExecutorTest, EqualsTheOverrideForOddHeads) {
  for (const int64_t head_size : {4, 12, 16, 20, 36, 40, 100, 128}) {
    SCOPED_TRACE(head_size);
    Check({.head_size = head_size, .num_heads = 3});
  }
}
TEST_P(CpuExecutorTest, EqualsTheOverrideForOddTokenCounts) {
  for (const int64_t side : {1, 3, 5, 7}) {
    SCOPED_TRACE(side);
    Check({.latent_size = side, .patch_size = 1, .source = SourceTokens::kSelf});
  }
}
TEST_P(CpuExecutorTest, EqualsTheOverrideForLongRows) {
  // 8 frames of 144 tokens, and 144 of the source: more keys than one block of the softmax.
  Check({.latent_size = 12, .patch_size = 1, .num_frames = 8, .source = SourceTokens::kSelf});
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithoutSigma) { Check({.learn_sigma = false}); }
TEST_P(CpuExecutorTest, EqualsTheOverrideWithSourceTokens) {
  Check({.source = SourceTokens::kSelf});
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithAHiddenSource) {
  Check({.source = SourceTokens::kSelf}, /*source_hidden=*/true);
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithMapsAndSource) {
  Check({.source = SourceTokens::kSelf, .landmark_map = true});
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithFrequenciesOfMaps) {
  Check({.source = SourceTokens::kSelf, .landmark_map = true, .landmark_map_frequencies = 2});
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithOpeningsInMaps) {
  Check({.source = SourceTokens::kSelf,
         .landmark_map = true,
         .landmark_map_frequencies = 1,
         .landmark_map_openings = true});
}
TEST_P(CpuExecutorTest, EqualsTheOverrideWithMapsAlone) { Check({.landmark_map = true}); }

TEST_P(CpuExecutorTest, TakesRowsOfOneFrame) {
  SDiT sdit = RandomSDiT({.num_frames = 1});
  auto executor = Make(sdit);
  Job job = RandomJob(sdit, 3, /*num_rows=*/1, /*anchor=*/0, /*t=*/0);
  MakeRows(*executor, &job);
  job.rows[0].record = nullptr;
  job.rows[0].anchor_slot.reset();

  ExpectNear(executor->Forward(job.rows), Expected(sdit, job), Tolerance(dtype()));
}

TEST_P(CpuExecutorTest, MixesJobsOfDifferentTimesAndAnchors) {
  SDiT sdit = RandomSDiT({.source = SourceTokens::kSelf});
  auto executor = Make(sdit, /*deterministic=*/true);
  std::vector<Job> jobs;
  jobs.push_back(RandomJob(sdit, 1, /*num_rows=*/3, /*anchor=*/0, /*t=*/999));
  jobs.push_back(RandomJob(sdit, 2, /*num_rows=*/1, /*anchor=*/2, /*t=*/0, /*source_hidden=*/true));
  jobs.push_back(RandomJob(sdit, 3, /*num_rows=*/2, /*anchor=*/3, /*t=*/417));
  std::vector<ExecutorRow> rows;
  std::vector<Tensor> expected;
  for (Job& job : jobs) MakeRows(*executor, &job);
  for (Job& job : jobs) {
    rows.insert(rows.begin(), job.rows.rbegin(), job.rows.rend());  // followers before anchors
    const auto own = Expected(sdit, job);
    expected.insert(expected.begin(), own.rbegin(), own.rend());
  }

  ExpectNear(executor->Forward(rows), expected, Tolerance(dtype()));
}

TEST_P(CpuExecutorTest, ARowDependsOnNothingButItself) {
  SDiT sdit = RandomSDiT({.source = SourceTokens::kSelf});
  auto executor = Make(sdit, /*deterministic=*/true);
  Job job = RandomJob(sdit, 7, /*num_rows=*/4, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const auto together = executor->Forward(job.rows);

  // With the retained trace of the first call, alone and in another order.
  std::vector<ExecutorRow> followers(job.rows.rbegin(), job.rows.rend() - 1);
  const auto reversed = executor->Forward(followers);
  const auto lone = executor->Forward(absl::MakeConstSpan(job.rows).subspan(2, 1));
  const int num_threads = at::get_num_threads();
  at::set_num_threads(num_threads == 1 ? 2 : 1);
  const auto other_threads = executor->Forward(job.rows);
  at::set_num_threads(num_threads);

  ExpectEqual({reversed[2], reversed[1], reversed[0]}, {together[1], together[2], together[3]});
  ExpectEqual(lone, {together[2]});
  ExpectEqual(other_threads, together);
}

TEST_P(CpuExecutorTest, LeavesTheWeightsAlone) {
  SDiT sdit = RandomSDiT({});
  const Tensor before = torch::nn::utils::parameters_to_vector(sdit->parameters()).clone();
  auto executor = Make(sdit);
  Job job = RandomJob(sdit, 7, /*num_rows=*/2, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const Tensor x = job.rows[0].x.clone(), C = job.rows[0].C.clone();
  executor->Forward(job.rows);

  EXPECT_TRUE(torch::equal(torch::nn::utils::parameters_to_vector(sdit->parameters()), before));
  EXPECT_TRUE(torch::equal(job.rows[0].x, x));
  EXPECT_TRUE(torch::equal(job.rows[0].C, C));
}

TEST(CpuExecutorFactoryTest, JointSourceTokensAreUnimplemented) {
  const auto executor = MakeCpuExecutor(RandomSDiT({.source = SourceTokens::kJoint}), {});
  EXPECT_EQ(executor.status().code(), absl::StatusCode::kUnimplemented);
}

INSTANTIATE_TEST_SUITE_P(Paths, CpuExecutorTest,
                         ::testing::Combine(::testing::Values(CpuPath::kPortable, CpuPath::kNative),
                                            ::testing::Values(ExecutorDtype::kFloat32,
                                                              ExecutorDtype::kBfloat16)),
                         [](const auto& test) {
                           return absl::StrCat(
                               std::get<0>(test.param) == CpuPath::kNative ? "Native" : "Portable",
                               std::get<1>(test.param) == ExecutorDtype::kFloat32 ? "Float32"
                                                                                  : "Bfloat16");
                         });

}  // namespace
}  // namespace reenact
