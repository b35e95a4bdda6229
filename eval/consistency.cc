#include "eval/consistency.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/clip_truth.h"
#include "eval/embedding_metrics.h"
#include "eval/engine_jobs.h"
#include "eval/json_numbers.h"
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

using Json = nlohmann::ordered_json;

constexpr std::array<double ConsistencyMeasures::*, 4> kMembers = {
    &ConsistencyMeasures::self_csim, &ConsistencyMeasures::least_cosine,
    &ConsistencyMeasures::driving_cosine, &ConsistencyMeasures::neighbour_change};

// {"clip": 3, "ways": [[[self_csim, least_cosine, driving_cosine, neighbour_change], null, ..],
// ..]}
std::string ToLine(const ConsistencyRecord& record, int index) {
  Json json = {{"clip", index}, {"ways", Json::array()}};
  for (const auto& lengths : record) {
    Json cells = Json::array();
    for (const std::optional<ConsistencyMeasures>& measures : lengths) {
      Json cell;
      for (const auto member : kMembers) {
        if (measures.has_value())
          cell.push_back(NumberToJson(std::optional<double>((*measures).*member)));
      }
      cells.push_back(std::move(cell));
    }
    json["ways"].push_back(std::move(cells));
  }
  return json.dump();
}

absl::StatusOr<ConsistencyRecord> FromLine(const std::string& line, int index, size_t num_ways,
                                           size_t num_lengths) {
  try {
    const Json json = Json::parse(line);
    ConsistencyRecord record;
    for (const Json& cells : json.at("ways")) {
      record.emplace_back();
      for (const Json& cell : cells) {
        record.back().emplace_back();
        if (cell.is_null()) continue;
        ConsistencyMeasures measures;
        for (size_t i = 0; i < kMembers.size(); ++i) {
          measures.*kMembers[i] = NumberFrom(cell.at(i)).value();
        }
        record.back().back() = measures;
      }
      if (record.back().size() != num_lengths)
        return absl::InvalidArgumentError("a length is missing");
    }
    if (json.at("clip") != index || record.size() != num_ways) {
      return absl::InvalidArgumentError("this is not the record that belongs here");
    }
    return record;
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  } catch (const std::bad_optional_access&) {
    return absl::InvalidArgumentError("a number is missing");
  }
}

class ConsistencyRun {
 public:
  ConsistencyRun(Engine& engine, const EvalNetworks& networks, const ConsistencyOptions& options,
                 const ReportProgress& report)
      : engine_(engine), networks_(networks), options_(options), report_(report) {}

  absl::StatusOr<std::vector<ConsistencyRecord>> Run() {
    if (auto status = TakeKnownClips(); !status.ok()) return status;
    auto landmarkers = NewLandmarkers(networks_, options_.threads);
    if (!landmarkers.ok()) return landmarkers.status();
    landmarkers_ = *std::move(landmarkers);
    const absl::Time started = absl::Now();
    const int known = num_done();
    while (num_done() < options_.num_clips && !stopped()) {
      const int first = num_done();
      auto batch = RunBatch(first, std::min(options_.jobs, options_.num_clips - first));
      if (absl::IsCancelled(batch.status())) break;
      if (!batch.ok()) return batch.status();
      if (auto status = Keep(*std::move(batch)); !status.ok()) return status;
      const double each = absl::ToDoubleSeconds(absl::Now() - started) / (num_done() - known);
      report_(absl::StrFormat("consistency: %d of %d clips, %.1f s a clip, about %.0f s left",
                              num_done(), options_.num_clips, each,
                              each * (options_.num_clips - num_done())));
    }
    if (records_.empty()) return absl::CancelledError("stopped before the first clip");
    return std::move(records_);
  }

 private:
  int num_done() const { return static_cast<int>(records_.size()); }
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }

  absl::Status TakeKnownClips() {
    auto known = KnownRecords<ConsistencyRecord>(
        options_.journal, options_.num_clips, [this](const std::string& line, int index) {
          return FromLine(line, index, options_.ways.size(), options_.lengths.size());
        });
    if (!known.ok()) return known.status();
    records_ = *std::move(known);
    if (num_done() > 0) {
      report_(absl::StrCat(num_done(), " of ", options_.num_clips, " clips are in ",
                           options_.journal->path()));
    }
    return absl::OkStatus();
  }

  absl::Status Keep(std::vector<ConsistencyRecord> batch) {
    std::vector<std::string> lines;
    for (size_t i = 0; i < batch.size(); ++i) {
      lines.push_back(ToLine(batch[i], num_done() + static_cast<int>(i)));
    }
    if (options_.journal != nullptr) {
      if (auto status = options_.journal->Append(lines); !status.ok()) return status;
    }
    for (ConsistencyRecord& record : batch) records_.push_back(std::move(record));
    return absl::OkStatus();
  }

  // kCancelled: stopped.
  absl::StatusOr<std::vector<ConsistencyRecord>> RunBatch(int first, int count) {
    auto clips = Draw(first, count);
    if (!clips.ok()) return clips.status();
    std::vector<ConsistencyRecord> batch(
        static_cast<size_t>(count),
        ConsistencyRecord(options_.ways.size(), std::vector<std::optional<ConsistencyMeasures>>(
                                                    options_.lengths.size())));
    for (size_t l = 0; l < options_.lengths.size(); ++l) {
      if (auto status = RunLength(*clips, l, batch); !status.ok()) return status;
    }
    return batch;
  }

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

  absl::Status RunLength(const std::vector<LongClip>& clips, size_t l,
                         std::vector<ConsistencyRecord>& batch) {
    std::vector<std::optional<Beginning>> cuts(clips.size());
    absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(clips.size()), [&](int worker, int i) -> absl::Status {
          auto cut = Cut(clips[static_cast<size_t>(i)], options_.lengths[l],
                         *landmarkers_[static_cast<size_t>(worker)]);
          if (!cut.ok()) return cut.status();
          cuts[static_cast<size_t>(i)] = *std::move(cut);
          return absl::OkStatus();
        });
    for (size_t w = 0; w < options_.ways.size() && status.ok(); ++w) {
      if (stopped()) return absl::CancelledError("stopped before the end");
      status = RunWay(clips, cuts, w, l, batch);
    }
    return status;
  }

  absl::Status RunWay(const std::vector<LongClip>& clips,
                      const std::vector<std::optional<Beginning>>& cuts, size_t w, size_t l,
                      std::vector<ConsistencyRecord>& batch) {
    const Way& way = options_.ways[w];
    std::vector<EvalJob> jobs;
    std::vector<size_t> made;
    for (size_t i = 0; i < clips.size(); ++i) {
      if (!cuts[i].has_value()) continue;
      EvalJob job;
      job.request = options_.request;
      job.request.job_id = absl::StrCat("clip-", clips[i].clip.index);
      job.request.source.image = clips[i].clip.portrait_png;
      job.request.motion_mode = MotionMode::kAbsolute;
      job.request.method = way.method;
      job.request.plan = way.plan;
      job.driving = cuts[i]->driving_mp4;
      jobs.push_back(std::move(job));
      made.push_back(i);
    }
    const auto results = RunEvalJobs(engine_, jobs, options_.threads);
    for (const auto& result : results) {
      if (!result.ok()) {
        return absl::Status(result.status().code(),
                            absl::StrCat(way.name, ": ", result.status().message()));
      }
    }
    return ParallelFor(
        options_.threads, static_cast<int>(results.size()), [&](int, int k) -> absl::Status {
          const std::vector<Image>& frames = results[static_cast<size_t>(k)]->frames;
          const size_t i = made[static_cast<size_t>(k)];
          const ClipTruth& truth = cuts[i]->truth;
          const std::vector<Embedding> embeddings = networks_.Embed(frames);
          ConsistencyMeasures measures;
          measures.self_csim = SelfCsim(embeddings, truth.driving_embeddings).value_or(0);
          measures.least_cosine = LeastSelfCosine(embeddings).value_or(1);
          measures.driving_cosine = LeastSelfCosine(truth.driving_embeddings).value_or(1);
          measures.neighbour_change = MeanChange(frames) / MeanChange(truth.driving);
          batch[i][w][l] = measures;
          return absl::OkStatus();
        });
  }

  Engine& engine_;
  const EvalNetworks& networks_;
  const ConsistencyOptions& options_;
  const ReportProgress& report_;
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers_;
  std::vector<ConsistencyRecord> records_;  // by clip
};

}  // namespace

absl::StatusOr<std::vector<ConsistencyRecord>> MeasureConsistency(Engine& engine,
                                                                  const EvalNetworks& networks,
                                                                  const ConsistencyOptions& options,
                                                                  const ReportProgress& report) {
  return ConsistencyRun(engine, networks, options, report).Run();
}

}  // namespace reenact
