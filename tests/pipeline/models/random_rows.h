// Networks with random weights and jobs for their executors, and what SDiT::forward makes of those:
// the tests of every executor.
#pragma once

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/sdit.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact::testing {

struct Shape {
  int64_t head_size = 32;
  int64_t num_heads = 2;
  int64_t latent_size = 8;  // with patches of 2: 16 tokens
  int64_t patch_size = 2;
  int64_t num_frames = 4;
  int64_t depth = 3;
  bool learn_sigma = true;
  SourceTokens source = SourceTokens::kNone;
  bool landmark_map = false;
  int64_t landmark_map_frequencies = 0;
  bool landmark_map_openings = false;
};

inline SDiT RandomSDiT(const Shape& shape) {
  SDiTConfig config;
  config.latent_channels = 4;
  config.latent_size = shape.latent_size;
  config.patch_size = shape.patch_size;
  config.hidden_size = shape.head_size * shape.num_heads;
  config.depth = shape.depth;
  config.num_heads = shape.num_heads;
  config.num_frames = shape.num_frames;
  config.clip_dim = 5;
  config.mapping_blocks = 1;
  config.num_landmarks = 7;
  config.learn_sigma = shape.learn_sigma;
  config.source = shape.source;
  config.landmark_map = shape.landmark_map;
  config.landmark_map_frequencies = shape.landmark_map_frequencies;
  config.landmark_map_openings = shape.landmark_map_openings;
  SDiT sdit(config);
  // So that activations stay near 1 in every layer, as after training.
  Randomize(*sdit, /*seed=*/5, 1 / std::sqrt(static_cast<double>(config.hidden_size)));
  sdit->eval();
  return sdit;
}

// One job: rows around an anchor, at one timestep.
struct Job {
  SDiTInput input;
  int64_t anchor = 0;
  bool source_hidden = false;

  ExecutorSource source;
  AnchorTrace trace;
  std::vector<ExecutorRow> rows;
};

inline Job RandomJob(SDiT& sdit, uint64_t seed, int64_t num_rows, int64_t anchor, int64_t t,
                     bool source_hidden = false) {
  const SDiTConfig& config = sdit->config();
  const int64_t B = num_rows, T = config.num_frames, h = config.latent_size;
  const int64_t S = config.tokens_side() * config.tokens_side();
  torch::manual_seed(seed);
  Job job;
  job.anchor = anchor;
  job.source_hidden = source_hidden;
  job.input.x = torch::randn({B, T, config.latent_channels, h, h});
  job.input.t = torch::full({B}, t, torch::kInt64);
  job.input.C = Override(torch::randn({B, T, config.hidden_size}), anchor);
  if (config.landmark_map) {
    job.input.landmark_map =
        Override(torch::randn({B, T, S, config.landmark_map_channels()}), anchor);
    job.input.source_landmark_map = torch::randn({1, S, config.landmark_map_channels()});
  }
  if (config.source != SourceTokens::kNone) {
    job.input.source_latent = torch::randn({1, config.latent_channels, h, h});
    job.input.source_C = torch::randn({1, config.hidden_size});
    if (source_hidden) job.input.source_mask = torch::zeros({B}, torch::kBool);
  }
  return job;
}

// X without `slot` in dimension 0.
inline torch::Tensor Without(const torch::Tensor& X, int64_t slot) {
  return torch::cat({X.narrow(0, 0, slot), X.narrow(0, slot + 1, X.size(0) - slot - 1)});
}

// Fills job.rows: row 0 records, the others follow. The job must then stay where it is.
inline void MakeRows(RowExecutor& executor, Job* job) {
  const SDiTInput& input = job->input;
  if (input.source_latent.has_value() && !job->source_hidden) {
    job->source =
        executor.TraceSource(*input.source_latent, *input.source_C, input.source_landmark_map);
  }
  for (int64_t b = 0; b < input.x.size(0); ++b) {
    const auto part = [&](const torch::Tensor& X) {
      return b == 0 ? X[b] : Without(X[b], job->anchor);
    };
    ExecutorRow row;
    row.x = part(input.x);
    row.t = input.t[b].item<int64_t>();
    row.C = part(input.C);
    if (input.landmark_map.has_value()) {
      row.extra = executor.EmbedMaps(part(*input.landmark_map).contiguous());
    }
    if (!job->source.tensors.empty()) row.source = &job->source;
    row.anchor_slot = job->anchor;
    (b == 0 ? row.record : const_cast<AnchorTrace*&>(row.trace)) = &job->trace;
    job->rows.push_back(row);
  }
}

// What SDiT::forward gives for the frames that each row computes.
inline std::vector<torch::Tensor> Expected(SDiT& sdit, const Job& job) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor all = sdit->forward(job.input, job.anchor);
  std::vector<torch::Tensor> rows;
  for (int64_t b = 0; b < all.size(0); ++b) {
    rows.push_back(b == 0 ? all[b] : Without(all[b], job.anchor));
  }
  return rows;
}

inline void ExpectNear(const std::vector<torch::Tensor>& actual,
                       const std::vector<torch::Tensor>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(Near(actual[i], expected[i], tolerance)) << "row " << i;
  }
}

}  // namespace reenact::testing
