#include "eval/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/clip_record.h"
#include "eval/clip_truth.h"
#include "eval/engine_jobs.h"
#include "eval/files.h"
#include "eval/parallel.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kCaptionsCompared = 64;

// A clip's files and truth; what made it impossible otherwise.
struct PreparedClip {
  HeldOutClip clip;
  absl::StatusOr<ClipTruth> truth = absl::UnknownError("not made");
};

struct GeneratedClip {
  size_t place = 0;  // in the batch
  std::vector<Image> frames;
};

class Evaluation {
 public:
  Evaluation(Engine& engine, const EvalNetworks& networks, const EvaluationOptions& options,
             const ReportProgress& report)
      : engine_(engine), networks_(networks), options_(options), report_(report) {}

  absl::StatusOr<EvaluationResult> Run() {
    NameVariants();
    if (auto status = TakeKnownClips(); !status.ok()) return status;
    if (num_done() < options_.num_clips) {
      if (auto status = MeasureOthers(); !status.ok()) return status;
    }
    if (records_.empty()) return absl::CancelledError("stopped before the first clip");
    return Assemble();
  }

 private:
  int num_done() const { return static_cast<int>(records_.size()); }

  size_t VariantIndex(size_t protocol, size_t way) const {
    return protocol * options_.ways.size() + way;
  }

  bool has_references() const {
    return std::find(options_.protocols.begin(), options_.protocols.end(), Protocol::kSame) !=
           options_.protocols.end();
  }

  void NameVariants() {
    for (const Protocol protocol : options_.protocols) {
      for (const Way& way : options_.ways) {
        Variant variant;
        variant.name = absl::StrCat(TraitsOf(protocol).name, " ", way.name);
        variant.aligned = TraitsOf(protocol).aligned;
        result_.variants.push_back(std::move(variant));
      }
    }
    if (has_references()) {
      for (const char* name : {"true frames", "autoencoder"}) {
        result_.variants.emplace_back();
        result_.variants.back().name = name;
      }
    }
    num_samples_.assign(result_.variants.size(), 0);
  }

  absl::Status TakeKnownClips() {
    auto known = KnownRecords<ClipRecord>(
        options_.journal, options_.num_clips,
        [this](const std::string& line, int index) -> absl::StatusOr<ClipRecord> {
          auto record = ClipRecordFromLine(line);
          if (record.ok() &&
              (record->index != index || record->outcomes.size() != result_.variants.size())) {
            return absl::InvalidArgumentError("this is not the record that belongs here");
          }
          return record;
        });
    if (!known.ok()) return known.status();
    for (ClipRecord& record : *known) Keep(std::move(record));
    if (num_done() > 0) {
      report_(absl::StrCat(num_done(), " of ", options_.num_clips, " clips are in ",
                           options_.journal->path()));
    }
    return absl::OkStatus();
  }

  void Keep(ClipRecord record) {
    for (size_t v = 0; v < record.outcomes.size(); ++v) {
      if (!record.outcomes[v].sample.empty()) ++num_samples_[v];
    }
    records_.push_back(std::move(record));
  }

  absl::Status MeasureOthers() {
    auto landmarkers = NewLandmarkers(networks_, options_.threads);
    if (!landmarkers.ok()) return landmarkers.status();
    landmarkers_ = *std::move(landmarkers);
    report_(absl::StrFormat("embedding the portraits of %d people", options_.held_out.num_people));
    auto people = EmbedPortraits(options_.held_out, networks_, options_.threads);
    if (!people.ok()) return people.status();
    people_ = *std::move(people);
    started_ = absl::Now();
    known_ = num_done();
    while (num_done() < options_.num_clips) {
      if (options_.stop != nullptr && options_.stop->load()) break;
      auto batch = RunBatch(num_done(), std::min(options_.jobs, options_.num_clips - num_done()));
      if (!batch.ok()) return batch.status();
      if (auto status = Write(*batch); !status.ok()) return status;
      for (ClipRecord& record : *batch) Keep(std::move(record));
      ReportDone();
    }
    return absl::OkStatus();
  }

  absl::Status Write(const std::vector<ClipRecord>& batch) {
    if (options_.journal == nullptr) return absl::OkStatus();
    std::vector<std::string> lines;
    for (const ClipRecord& record : batch) {
      auto line = ToLine(record);
      if (!line.ok()) return line.status();
      lines.push_back(*std::move(line));
    }
    return options_.journal->Append(lines);
  }

  EvaluationResult Assemble() {
    result_.num_clips = num_done();
    for (ClipRecord& record : records_) {
      result_.true_frames.insert(result_.true_frames.end(), record.true_frames.begin(),
                                 record.true_frames.end());
      for (size_t v = 0; v < record.outcomes.size(); ++v) {
        ClipOutcome& outcome = record.outcomes[v];
        Variant& variant = result_.variants[v];
        if (!outcome.failure.empty()) {
          variant.failures.push_back(absl::StrCat("clip ", record.index, ": ", outcome.failure));
        }
        if (outcome.measures.has_value()) variant.clips.push_back(*std::move(outcome.measures));
        if (!outcome.sample.empty()) variant.samples.push_back(std::move(outcome.sample));
      }
    }
    return std::move(result_);
  }

  // Of clips first .. first + count - 1.
  absl::StatusOr<std::vector<ClipRecord>> RunBatch(int first, int count) {
    std::vector<ClipRecord> batch(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      batch[static_cast<size_t>(i)].index = first + i;
      batch[static_cast<size_t>(i)].outcomes.resize(result_.variants.size());
    }
    for (const bool cross : {false, true}) {
      if (auto status = RunClips(cross, batch); !status.ok()) return status;
    }
    return batch;
  }

  // All that `cross` protocols want of the batch's clips.
  absl::Status RunClips(bool cross, std::vector<ClipRecord>& batch) {
    std::vector<size_t> protocols;
    for (size_t p = 0; p < options_.protocols.size(); ++p) {
      if (TraitsOf(options_.protocols[p]).cross == cross) protocols.push_back(p);
    }
    if (protocols.empty()) return absl::OkStatus();
    auto clips = PrepareClips(batch.front().index, static_cast<int>(batch.size()), cross);
    if (!clips.ok()) return clips.status();
    for (const size_t p : protocols) {
      for (size_t w = 0; w < options_.ways.size(); ++w) {
        if (auto status = Generate(*clips, options_.protocols[p], options_.ways[w],
                                   VariantIndex(p, w), batch);
            !status.ok()) {
          return status;
        }
      }
    }
    const bool first_protocol = protocols.front() == 0;
    if (!cross || (!has_references() && first_protocol)) {
      for (size_t i = 0; i < clips->size(); ++i) {
        const PreparedClip& prepared = (*clips)[i];
        if (prepared.truth.ok()) batch[i].true_frames = prepared.truth->driving_embeddings;
      }
    }
    return cross ? absl::OkStatus() : MeasureReferences(*clips, batch);
  }

  absl::StatusOr<std::vector<PreparedClip>> PrepareClips(int first, int count, bool cross) {
    std::vector<PreparedClip> clips(static_cast<size_t>(count));
    const absl::Status status =
        ParallelFor(options_.threads, count, [&](int worker, int i) -> absl::Status {
          PreparedClip& prepared = clips[static_cast<size_t>(i)];
          auto clip = DrawHeldOutClip(options_.held_out, first + i, cross);
          if (!clip.ok()) return clip.status();
          prepared.clip = *std::move(clip);
          FaceLandmarker& landmarker = *landmarkers_[static_cast<size_t>(worker)];
          const auto tracked = TrackFaces(prepared.clip.driving, landmarker);
          if (!tracked.ok()) return tracked.status();
          prepared.truth = MakeClipTruth(prepared.clip, *tracked, options_.held_out.num_frames,
                                         networks_, landmarker);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    return clips;
  }

  absl::Status Generate(const std::vector<PreparedClip>& clips, Protocol protocol, const Way& way,
                        size_t v, std::vector<ClipRecord>& batch) {
    const ProtocolTraits& traits = TraitsOf(protocol);
    std::vector<EvalJob> jobs;
    std::vector<size_t> made;
    for (size_t i = 0; i < clips.size(); ++i) {
      if (!clips[i].truth.ok()) {
        batch[i].outcomes[v].failure = std::string(clips[i].truth.status().message());
        continue;
      }
      EvalJob job;
      job.request = options_.request;
      job.request.job_id = absl::StrCat("clip-", clips[i].clip.index);
      job.request.source.image = clips[i].clip.portrait_png;
      job.request.motion_mode = traits.motion;
      job.request.method = way.method;
      job.request.plan = way.plan;
      job.driving = clips[i].clip.driving_mp4;
      jobs.push_back(std::move(job));
      made.push_back(i);
    }
    auto results = RunEvalJobs(engine_, jobs, options_.threads);
    std::vector<GeneratedClip> generated;
    for (size_t k = 0; k < results.size(); ++k) {
      const absl::Status& status = results[k].status();
      if (status.ok()) {
        generated.push_back({made[k], std::move(results[k]->frames)});
        continue;
      }
      // What no clip can be made with is not the clip's failure.
      if (absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) {
        return absl::Status(status.code(),
                            absl::StrCat(result_.variants[v].name, ": ", status.message()));
      }
      batch[made[k]].outcomes[v].failure = std::string(status.message());
    }
    return Measure(clips, generated, {.aligned = traits.aligned, .cross = traits.cross}, v, batch);
  }

  absl::Status MeasureReferences(const std::vector<PreparedClip>& clips,
                                 std::vector<ClipRecord>& batch) {
    std::vector<GeneratedClip> truth, decoded;
    for (size_t i = 0; i < clips.size(); ++i) {
      if (!clips[i].truth.ok()) continue;
      truth.push_back({i, clips[i].truth->frames});
      decoded.push_back({i, {}});
    }
    const absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(truth.size()), [&](int, int k) -> absl::Status {
          for (const Image& frame : truth[static_cast<size_t>(k)].frames) {
            decoded[static_cast<size_t>(k)].frames.push_back(networks_.Reconstruct(frame));
          }
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    const size_t autoencoder = result_.variants.size() - 1;
    if (auto measured = Measure(clips, truth, {}, autoencoder - 1, batch); !measured.ok()) {
      return measured;
    }
    return Measure(clips, decoded, {}, autoencoder, batch);
  }

  // Variant `v` of the clips that were generated.
  absl::Status Measure(const std::vector<PreparedClip>& clips,
                       const std::vector<GeneratedClip>& generated, const MeasureOptions& how,
                       size_t v, std::vector<ClipRecord>& batch) {
    const absl::Status status =
        ParallelFor(options_.threads, static_cast<int>(generated.size()),
                    [&](int worker, int k) -> absl::Status {
                      const GeneratedClip& made = generated[static_cast<size_t>(k)];
                      const PreparedClip& prepared = clips[made.place];
                      auto measured = MeasureClip(made.frames, *prepared.truth, how,
                                                  Others(prepared.clip.index), networks_,
                                                  *landmarkers_[static_cast<size_t>(worker)]);
                      if (!measured.ok()) return measured.status();
                      measured->index = prepared.clip.index;
                      batch[made.place].outcomes[v].measures = *std::move(measured);
                      return absl::OkStatus();
                    });
    if (!status.ok()) return status;
    int num_samples = num_samples_[v];
    for (const GeneratedClip& made : generated) {
      if (num_samples++ >= options_.num_samples) break;
      const ClipTruth& truth = *clips[made.place].truth;
      batch[made.place].outcomes[v].sample =
          DrawSample(truth.source, truth.driving, made.frames, options_.sample_columns);
    }
    return absl::OkStatus();
  }

  std::vector<Embedding> Others(int index) const {
    std::vector<Embedding> others;
    for (size_t i = 0; i < people_.size(); ++i) {
      if (static_cast<int>(i) != index && !people_[i].empty()) others.push_back(people_[i]);
    }
    return others;
  }

  void ReportDone() const {
    const absl::Duration passed = absl::Now() - started_;
    const absl::Duration left = passed * (options_.num_clips - num_done()) / (num_done() - known_);
    report_(absl::StrFormat("%d of %d clips, %.0f s, about %.0f s left", num_done(),
                            options_.num_clips, absl::ToDoubleSeconds(passed),
                            absl::ToDoubleSeconds(left)));
  }

  Engine& engine_;
  const EvalNetworks& networks_;
  const EvaluationOptions& options_;
  const ReportProgress& report_;
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers_;
  std::vector<Embedding> people_;
  EvaluationResult result_;          // its variants are named, and empty until the end
  std::vector<ClipRecord> records_;  // by index
  std::vector<int> num_samples_;     // by variant, in `records_`
  absl::Time started_;
  int known_ = 0;  // clips that the journal held
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<FaceLandmarker>>> NewLandmarkers(
    const EvalNetworks& networks, int threads) {
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers;
  for (int i = 0; i < threads; ++i) {
    auto landmarker = networks.NewLandmarker();
    if (!landmarker.ok()) return landmarker.status();
    landmarkers.push_back(*std::move(landmarker));
  }
  return landmarkers;
}

absl::StatusOr<std::vector<Embedding>> EmbedPortraits(const HeldOutOptions& options,
                                                      const EvalNetworks& networks, int threads) {
  auto landmarkers = NewLandmarkers(networks, threads);
  if (!landmarkers.ok()) return landmarkers.status();
  std::vector<Embedding> embeddings(static_cast<size_t>(options.num_people));
  const absl::Status status =
      ParallelFor(threads, options.num_people, [&](int worker, int i) -> absl::Status {
        const auto crop = CropPortrait(DrawPortrait(options, i), networks.image_size(),
                                       *(*landmarkers)[static_cast<size_t>(worker)]);
        if (absl::IsFailedPrecondition(crop.status())) return absl::OkStatus();
        if (!crop.ok()) return crop.status();
        embeddings[static_cast<size_t>(i)] = networks.Embed(*crop);
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return embeddings;
}

absl::StatusOr<double> CaptionRetrieval(const HeldOutOptions& options, const EvalNetworks& networks,
                                        int num_groups, int threads) {
  HeldOutOptions people = options;
  people.num_people = num_groups * kCaptionsCompared;
  const auto pictures = EmbedPortraits(people, networks, threads);
  if (!pictures.ok()) return pictures.status();
  double sum = 0;
  for (int group = 0; group < num_groups; ++group) {
    std::vector<Embedding> own, texts;
    for (int i = group * kCaptionsCompared; i < (group + 1) * kCaptionsCompared; ++i) {
      if ((*pictures)[static_cast<size_t>(i)].empty()) continue;
      own.push_back((*pictures)[static_cast<size_t>(i)]);
      const Person person =
          MakePerson(people.first_seed + static_cast<uint64_t>(i), people.variety);
      texts.push_back(networks.EmbedText(Caption(person, static_cast<uint64_t>(i))));
    }
    if (own.empty()) return absl::FailedPreconditionError("no face found in any portrait");
    sum += RetrievalTop1(own, texts);
  }
  return sum / num_groups;
}

absl::StatusOr<EvaluationResult> Evaluate(Engine& engine, const EvalNetworks& networks,
                                          const EvaluationOptions& options,
                                          const ReportProgress& report) {
  return Evaluation(engine, networks, options, report).Run();
}

}  // namespace reenact
