#include "eval/consistency.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/clip_truth.h"
#include "eval/embedding_metrics.h"
#include "eval/engine_jobs.h"
#include "eval/parallel.h"
#include "eval/picture_metrics.h"

namespace reenact {
namespace {

struct LongClip {
  HeldOutClip clip;
  std::vector<std::optional<Landmarks>> tracked;
};

// One clip's beginning, of one length.
struct Beginning {
  std::string driving_mp4;
  ClipTruth truth;
};

double MeanChange(const std::vector<Image>& frames) {
  double sum = 0;
  for (size_t i = 1; i < frames.size(); ++i) sum += MeanDifference(frames[i - 1], frames[i]);
  return sum / static_cast<double>(frames.size() - 1);
}

class ConsistencyRun {
 public:
  ConsistencyRun(Engine& engine, const EvalNetworks& networks, const ConsistencyOptions& options,
                 const ReportProgress& report)
      : engine_(engine),
        networks_(networks),
        options_(options),
        report_(report),
        cells_(options.methods.size(), std::vector<ConsistencyCell>(options.lengths.size())) {}

  absl::StatusOr<std::vector<std::vector<ConsistencyCell>>> Run() {
    auto landmarkers = NewLandmarkers(networks_, options_.threads);
    if (!landmarkers.ok()) return landmarkers.status();
    landmarkers_ = *std::move(landmarkers);
    const absl::Time started = absl::Now();
    for (int first = 0; first < options_.num_clips; first += options_.jobs) {
      const int count = std::min(options_.jobs, options_.num_clips - first);
      auto clips = Draw(first, count);
      if (!clips.ok()) return clips.status();
      for (size_t l = 0; l < options_.lengths.size(); ++l) {
        if (auto status = RunLength(*clips, l); !status.ok()) return status;
      }
      const int done = first + count;
      const double passed = absl::ToDoubleSeconds(absl::Now() - started);
      report_(absl::StrFormat("consistency: %d of %d clips, %.0f s, about %.0f s left", done,
                              options_.num_clips, passed,
                              passed * (options_.num_clips - done) / done));
    }
    return std::move(cells_);
  }

 private:
  absl::StatusOr<std::vector<LongClip>> Draw(int first, int count) {
    std::vector<LongClip> clips(static_cast<size_t>(count));
    const absl::Status status =
        ParallelFor(options_.threads, count, [&](int worker, int i) -> absl::Status {
          auto clip = DrawHeldOutClip(options_.held_out, first + i, /*cross=*/false);
          if (!clip.ok()) return clip.status();
          auto tracked = TrackFaces(clip->driving, *landmarkers_[static_cast<size_t>(worker)]);
          if (!tracked.ok()) return tracked.status();
          clips[static_cast<size_t>(i)] = {*std::move(clip), *std::move(tracked)};
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    return clips;
  }

  // None of a clip without a face: its cells stay as they are.
  absl::StatusOr<std::optional<Beginning>> Cut(const LongClip& clip, int length,
                                               FaceLandmarker& landmarker) const {
    auto truth = MakeClipTruth(clip.clip, clip.tracked, length, networks_, landmarker);
    if (absl::IsFailedPrecondition(truth.status())) return std::nullopt;
    if (!truth.ok()) return truth.status();
    const std::vector<Image> frames(clip.clip.driving.begin(), clip.clip.driving.begin() + length);
    auto mp4 = EncodeDriving(frames, options_.held_out.fps);
    if (!mp4.ok()) return mp4.status();
    return Beginning{*std::move(mp4), *std::move(truth)};
  }

  absl::Status RunLength(const std::vector<LongClip>& clips, size_t l) {
    std::vector<std::optional<Beginning>> cuts(clips.size());
    absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(clips.size()), [&](int worker, int i) -> absl::Status {
          auto cut = Cut(clips[static_cast<size_t>(i)], options_.lengths[l],
                         *landmarkers_[static_cast<size_t>(worker)]);
          if (!cut.ok()) return cut.status();
          cuts[static_cast<size_t>(i)] = *std::move(cut);
          return absl::OkStatus();
        });
    for (size_t m = 0; m < options_.methods.size() && status.ok(); ++m) {
      if (options_.stop != nullptr && options_.stop->load()) {
        return absl::CancelledError("stopped before the end");
      }
      status = RunMethod(clips, cuts, m, l);
    }
    return status;
  }

  absl::Status RunMethod(const std::vector<LongClip>& clips,
                         const std::vector<std::optional<Beginning>>& cuts, size_t m, size_t l) {
    std::vector<EvalJob> jobs;
    std::vector<const ClipTruth*> truths;
    for (size_t i = 0; i < clips.size(); ++i) {
      if (!cuts[i].has_value()) continue;
      EvalJob job;
      job.request = options_.request;
      job.request.job_id = absl::StrCat("clip-", clips[i].clip.index);
      job.request.source.image = clips[i].clip.portrait_png;
      job.request.motion_mode = MotionMode::kAbsolute;
      job.request.method = options_.methods[m];
      job.driving = cuts[i]->driving_mp4;
      jobs.push_back(std::move(job));
      truths.push_back(&cuts[i]->truth);
    }
    const auto results = RunEvalJobs(engine_, jobs, options_.threads);
    std::vector<std::vector<Embedding>> embeddings(results.size());
    for (const auto& result : results) {
      if (!result.ok()) {
        return absl::Status(result.status().code(), absl::StrCat(MethodWord(options_.methods[m]),
                                                                 ": ", result.status().message()));
      }
    }
    const absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(results.size()), [&](int, int i) -> absl::Status {
          embeddings[static_cast<size_t>(i)] =
              networks_.Embed(results[static_cast<size_t>(i)]->frames);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    ConsistencyCell& cell = cells_[m][l];
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<Embedding>& driving = truths[i]->driving_embeddings;
      cell.self_csim.push_back(SelfCsim(embeddings[i], driving).value_or(0));
      cell.least_cosine.push_back(LeastSelfCosine(embeddings[i]).value_or(1));
      cell.driving_cosine.push_back(LeastSelfCosine(driving).value_or(1));
      cell.neighbour_change.push_back(MeanChange(results[i]->frames) /
                                      MeanChange(truths[i]->driving));
    }
    return absl::OkStatus();
  }

  Engine& engine_;
  const EvalNetworks& networks_;
  const ConsistencyOptions& options_;
  const ReportProgress& report_;
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers_;
  std::vector<std::vector<ConsistencyCell>> cells_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<ConsistencyCell>>> MeasureConsistency(
    Engine& engine, const EvalNetworks& networks, const ConsistencyOptions& options,
    const ReportProgress& report) {
  return ConsistencyRun(engine, networks, options, report).Run();
}

}  // namespace reenact
