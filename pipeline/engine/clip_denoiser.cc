#include "pipeline/engine/clip_denoiser.h"

#include <cstddef>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/models/device.h"

namespace reenact {

void ClipDenoiser::AddRow(std::vector<RowSlot> /*row*/) {
  TORCH_CHECK(false, "a row is added to a clip that does not grow");
}

void ClipDenoiser::Complete() { TORCH_CHECK(false, "a clip that does not grow is completed"); }

std::optional<ExecutorSource> ClipDenoiser::TraceSource(RowExecutor& executor,
                                                        const Conditions& conditions) {
  const c10::InferenceMode inference;
  if (executor.config().source == SourceTokens::kNone || !conditions.source_latent.has_value()) {
    return std::nullopt;
  }
  std::optional<torch::Tensor> map;
  if (conditions.source_landmark_map.has_value()) {
    map = conditions.source_landmark_map->unsqueeze(0);
  }
  return executor.TraceSource(conditions.source_latent->unsqueeze(0),
                              conditions.source_C->unsqueeze(0), map);
}

std::vector<absl::StatusOr<std::vector<FinishedFrame>>> ClipDenoiser::Step(
    RowExecutor& executor, absl::Span<const Share> shares) {
  using Result = absl::StatusOr<std::vector<FinishedFrame>>;
  const c10::InferenceMode inference;
  const auto failed = [](const Share& share, const std::exception& error) {
    return ErrorStatus(error, absl::StrCat("denoising row step ", share.clip->row_steps_done()));
  };
  // Runs `part` of the shares in one call; throws before anything has changed, or not at all.
  const auto run = [&](absl::Span<const Share> part) {
    std::vector<ExecutorRow> rows;
    std::vector<size_t> begins;
    for (const Share& share : part) {
      begins.push_back(rows.size());
      for (ExecutorRow& row : share.clip->Begin(share.num_rows)) rows.push_back(std::move(row));
    }
    begins.push_back(rows.size());
    const std::vector<torch::Tensor> outputs = executor.Forward(rows);
    std::vector<Result> results;
    for (size_t i = 0; i < part.size(); ++i) {
      const auto mine = absl::MakeConstSpan(outputs).subspan(begins[i], begins[i + 1] - begins[i]);
      try {
        results.push_back(part[i].clip->Finish(mine));
      } catch (const std::exception& error) {
        results.push_back(failed(part[i], error));
      }
    }
    return results;
  };
  if (shares.size() > 1) {
    try {
      return run(shares);
    } catch (const std::exception&) {
      // One of them is to blame: each by itself shows which.
    }
  }
  std::vector<Result> results;
  for (const Share& share : shares) {
    try {
      results.push_back(std::move(run({&share, 1})[0]));
    } catch (const std::exception& error) {
      results.push_back(failed(share, error));
    }
  }
  return results;
}

}  // namespace reenact
