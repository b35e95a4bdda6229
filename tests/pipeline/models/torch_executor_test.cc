// The torch executor on the CPU, where everything but CUDA itself runs: batches of mixed jobs,
// recorded work (by a recorder that keeps the call and its inputs' addresses, as a CUDA graph
// does), formats.
#include "pipeline/models/torch_executor.h"

#include <utility>

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
using testing::Near;
using testing::RandomJob;
using testing::RandomSDiT;
using testing::Shape;
using testing::Without;
using torch::Tensor;

// Against SDiT::forward in float32, relative to the largest output. Measured over the cases below:
// at most 1.6e-6, and 3.5e-2 in bfloat16, which keeps 8 bits, of the sums between the blocks too.
double Tolerance(ExecutorDtype dtype) { return dtype == ExecutorDtype::kFloat32 ? 1e-5 : 6e-2; }

struct Counts {
  int recorded = 0, launched = 0, alive = 0;
  bool broken = false;  // recording fails
};

// Runs work where a CUDA graph would launch it again: what the call finds in the tensors it was
// recorded with is what counts.
class FakeRecorder final : public WorkRecorder {
 public:
  explicit FakeRecorder(Counts* counts) : counts_(counts) {}

  std::unique_ptr<RecordedWork> Record(const std::function<void()>& work) override {
    TORCH_CHECK(!counts_->broken, "no recording today");
    ++counts_->recorded;
    return std::make_unique<Work>(work, counts_);
  }

 private:
  class Work final : public RecordedWork {
   public:
    Work(std::function<void()> work, Counts* counts) : work_(std::move(work)), counts_(counts) {
      ++counts_->alive;
    }
    ~Work() override { --counts_->alive; }
    void Launch() override {
      ++counts_->launched;
      work_();
    }

   private:
    const std::function<void()> work_;
    Counts* const counts_;
  };
  Counts* const counts_;
};

class TorchExecutorTest : public ::testing::TestWithParam<ExecutorDtype> {
 protected:
  ExecutorDtype dtype() const { return GetParam(); }

  std::unique_ptr<RowExecutor> Make(const SDiT& sdit, Counts* counts, int max_graphs = 16) const {
    auto executor = MakeTorchExecutor(
        sdit, {.dtype = dtype(), .deterministic = false, .max_graphs = max_graphs},
        counts != nullptr ? std::make_unique<FakeRecorder>(counts) : nullptr);
    return std::move(executor.value());
  }

  // Runs a job of 3 rows, recorded and not, and compares.
  void Check(const Shape& shape, bool source_hidden = false) {
    SDiT sdit = RandomSDiT(shape);
    Counts counts;
    for (Counts* const recorder : {static_cast<Counts*>(nullptr), &counts}) {
      auto executor = Make(sdit, recorder);
      Job job = RandomJob(sdit, 7, /*num_rows=*/3, /*anchor=*/shape.num_frames / 2, /*t=*/400,
                          source_hidden);
      MakeRows(*executor, &job);
      const auto expected = Expected(sdit, job);
      for (int call = 0; call < 3; ++call) {
        ExpectNear(executor->Forward(job.rows), expected, Tolerance(dtype()));
      }
      EXPECT_EQ(job.trace.bytes(), executor->trace_bytes());
    }
    EXPECT_EQ(counts.recorded, 2);  // the anchor row's shape and the followers'
    EXPECT_EQ(counts.launched, 4);
  }
};

TEST_P(TorchExecutorTest, EqualsTheOverride) { Check({.head_size = 32}); }
TEST_P(TorchExecutorTest, EqualsTheOverrideForHeadsOf72) { Check({.head_size = 72}); }
TEST_P(TorchExecutorTest, EqualsTheOverrideWithMapsAndSource) {
  Check({.source = SourceTokens::kSelf, .landmark_map = true});
}
TEST_P(TorchExecutorTest, EqualsTheOverrideWithFrequenciesOfMaps) {
  Check({.source = SourceTokens::kSelf, .landmark_map = true, .landmark_map_frequencies = 2});
}
TEST_P(TorchExecutorTest, EqualsTheOverrideWithOpeningsInMaps) {
  Check({.source = SourceTokens::kSelf,
         .landmark_map = true,
         .landmark_map_frequencies = 1,
         .landmark_map_openings = true});
}
TEST_P(TorchExecutorTest, EqualsTheOverrideWithAHiddenSource) {
  Check({.source = SourceTokens::kSelf}, /*source_hidden=*/true);
}
TEST_P(TorchExecutorTest, EqualsTheOverrideWithAJointSource) {
  Check({.source = SourceTokens::kJoint, .landmark_map = true});
}

TEST_P(TorchExecutorTest, TakesRowsOfOneFrame) {
  SDiT sdit = RandomSDiT({.num_frames = 1});
  auto executor = Make(sdit, nullptr);
  Job job = RandomJob(sdit, 3, /*num_rows=*/1, /*anchor=*/0, /*t=*/0);
  MakeRows(*executor, &job);
  job.rows[0].record = nullptr;
  job.rows[0].anchor_slot.reset();

  ExpectNear(executor->Forward(job.rows), Expected(sdit, job), Tolerance(dtype()));
}

// Rows of jobs with different anchors, times and sources are one batch, recorded once, and a
// recorded batch takes the next call's values.
TEST_P(TorchExecutorTest, OneBatchHoldsRowsOfManyJobs) {
  SDiT sdit = RandomSDiT({.source = SourceTokens::kSelf});
  Counts counts;
  auto executor = Make(sdit, &counts);
  for (uint64_t call = 0; call < 4; ++call) {
    std::vector<Job> jobs;
    jobs.push_back(RandomJob(sdit, 10 * call + 1, /*num_rows=*/3, /*anchor=*/0, /*t=*/999));
    jobs.push_back(RandomJob(sdit, 10 * call + 2, /*num_rows=*/2, /*anchor=*/3, /*t=*/417));
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
  EXPECT_EQ(counts.recorded, 2);  // 2 anchor rows, 3 followers
}

TEST_P(TorchExecutorTest, OutputsOutliveTheNextCall) {
  SDiT sdit = RandomSDiT({});
  Counts counts;
  auto executor = Make(sdit, &counts);
  std::vector<std::vector<Tensor>> outputs, expected;
  std::vector<AnchorTrace> traces;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Job job = RandomJob(sdit, seed, /*num_rows=*/2, /*anchor=*/1, /*t=*/250);
    MakeRows(*executor, &job);
    expected.push_back(Expected(sdit, job));
    outputs.push_back(executor->Forward(job.rows));
    traces.push_back(job.trace);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    ExpectNear(outputs[i], expected[i], Tolerance(dtype()));
    for (size_t k = 0; k < i; ++k) {
      EXPECT_FALSE(torch::equal(traces[i].blocks[0], traces[k].blocks[0]));
    }
  }
}

TEST_P(TorchExecutorTest, KeepsABoundedNumberOfRecords) {
  SDiT sdit = RandomSDiT({});
  Counts counts;
  auto executor = Make(sdit, &counts, /*max_graphs=*/2);
  Job job = RandomJob(sdit, 7, /*num_rows=*/4, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  executor->Forward(job.rows);
  const std::vector<ExecutorRow> followers(job.rows.begin() + 1, job.rows.end());
  const auto expected = Expected(sdit, job);
  for (int call = 0; call < 12; ++call) {
    // 1, 2 and 3 followers: 3 shapes.
    const auto n = static_cast<size_t>(call / 4 + 1);
    ExpectNear(executor->Forward(absl::MakeConstSpan(followers).first(n)),
               {expected.begin() + 1, expected.begin() + 1 + static_cast<std::ptrdiff_t>(n)},
               Tolerance(dtype()));
    EXPECT_LE(counts.alive, 2);
  }
  EXPECT_EQ(counts.alive, 2);
  EXPECT_EQ(counts.recorded, 3);
}

TEST_P(TorchExecutorTest, GoesOnWhenRecordingFails) {
  SDiT sdit = RandomSDiT({});
  Counts counts;
  counts.broken = true;
  auto executor = Make(sdit, &counts);
  Job job = RandomJob(sdit, 7, /*num_rows=*/2, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const auto expected = Expected(sdit, job);
  for (int call = 0; call < 3; ++call) {
    ExpectNear(executor->Forward(job.rows), expected, Tolerance(dtype()));
    if (call == 1) counts.broken = false;  // it is not tried again
  }
  EXPECT_EQ(counts.recorded, 0);
}

TEST_P(TorchExecutorTest, LeavesTheWeightsAndInputsAlone) {
  SDiT sdit = RandomSDiT({});
  const Tensor before = torch::nn::utils::parameters_to_vector(sdit->parameters()).clone();
  auto executor = Make(sdit, nullptr);
  Job job = RandomJob(sdit, 7, /*num_rows=*/2, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const Tensor x = job.rows[1].x.clone(), C = job.rows[1].C.clone();
  executor->Forward(job.rows);

  EXPECT_TRUE(torch::equal(torch::nn::utils::parameters_to_vector(sdit->parameters()), before));
  EXPECT_TRUE(torch::equal(job.rows[1].x, x));
  EXPECT_TRUE(torch::equal(job.rows[1].C, C));
}

// Both keep 8 bits of a number, in different places: they differ as each differs from float32.
TEST_P(TorchExecutorTest, AgreesWithTheCpuExecutor) {
  SDiT sdit = RandomSDiT({.head_size = 72, .source = SourceTokens::kSelf, .landmark_map = true});
  auto torch_executor = Make(sdit, nullptr);
  auto cpu_executor = MakeCpuExecutor(sdit, {.dtype = dtype()});
  ASSERT_TRUE(cpu_executor.ok()) << cpu_executor.status();
  Job by_torch = RandomJob(sdit, 7, /*num_rows=*/3, /*anchor=*/2, /*t=*/400), by_cpu = by_torch;
  MakeRows(*torch_executor, &by_torch);
  MakeRows(**cpu_executor, &by_cpu);

  ExpectNear(torch_executor->Forward(by_torch.rows), (*cpu_executor)->Forward(by_cpu.rows),
             Tolerance(dtype()));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, TorchExecutorTest,
                         ::testing::Values(ExecutorDtype::kFloat32, ExecutorDtype::kBfloat16),
                         [](const auto& test) {
                           return test.param == ExecutorDtype::kFloat32 ? "Float32" : "Bfloat16";
                         });

}  // namespace
}  // namespace reenact
