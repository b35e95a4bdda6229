#include "client/tool/commands.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "client/tool/server_access.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace reenact::tool {
namespace {

namespace fs = std::filesystem;

// Far above any portrait; the server's own limit is lower.
constexpr size_t kMaxSourceBytes = size_t{256} << 20;
constexpr int kNotesShown = 5;

std::string Json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return "{}";
  return text;
}

std::string JsonText(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  return Json(value);
}

// Tells the user and, for a program that reads standard output, writes {"error": ...} there.
ExitCode Fail(const CommonOptions& common, ExitCode exit_code, absl::StatusCode code,
              const std::string& text) {
  absl::FPrintF(stderr, "reenact: %s\n", absl::StrReplaceAll(text, {{"\n", "\n  "}}));
  if (common.json) {
    absl::PrintF("{\"error\":{\"code\":%s,\"message\":%s}}\n",
                 JsonText(absl::StatusCodeToString(code)), JsonText(text));
  }
  return exit_code;
}

ExitCode Fail(const CommonOptions& common, const absl::Status& status, const JobNames& names) {
  return Fail(common, ExitCodeFor(status), status.code(), Explain(status, names));
}

// Something on this side of the wire: a file, a flag.
ExitCode FailLocally(const CommonOptions& common, const absl::Status& status) {
  return Fail(common, kBadInput, absl::StatusCode::kInvalidArgument, std::string(status.message()));
}

std::string StageName(v1::Stage stage) {
  switch (stage) {
    case v1::STAGE_RECEIVING:
      return "sending";
    case v1::STAGE_PREPARING:
      return "preparing";
    case v1::STAGE_WAITING:
      return "waiting";
    case v1::STAGE_DENOISING:
      return "denoising";
    case v1::STAGE_RENDERING:
      return "rendering";
    default:
      return "working";
  }
}

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

LiveProgress LiveOf(const v1::LiveStatus& status) {
  return {.lag_seconds = Seconds(status.lag()),
          .real_time_ratio = status.real_time_ratio(),
          .frames_skipped = status.frames_skipped()};
}

ProgressState StateOf(const v1::Progress& progress) {
  ProgressState state;
  state.stage = StageName(progress.stage());
  state.steps_done = progress.step();
  state.total_steps = progress.total_steps();
  state.frames_done = progress.frames_done();
  state.total_frames = progress.frames_total();
  if (progress.has_estimated_time_left()) {
    state.time_left = absl::Seconds(progress.estimated_time_left().seconds()) +
                      absl::Nanoseconds(progress.estimated_time_left().nanos());
  }
  if (progress.has_live()) state.live = LiveOf(progress.live());
  return state;
}

// Whether both name the same existing file.
bool SameFile(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

bool NamesFolder(const std::string& path) {
  std::error_code ignored;
  return absl::EndsWith(path, "/") || fs::is_directory(path, ignored);
}

// The format, if the user named none: a folder gets PNG files, a .mp4 (or standard output) a video.
absl::StatusOr<v1::OutputFormat> ChooseFormat(const RunOptions& options) {
  const bool folder = NamesFolder(options.output);
  if (options.format == v1::OUTPUT_FORMAT_UNSPECIFIED) {
    if (folder) return v1::OUTPUT_FORMAT_PNG;
    const std::string extension =
        absl::AsciiStrToLower(fs::path(options.output).extension().string());
    if (options.output == "-" || extension == ".mp4" || extension == ".m4v") {
      return v1::OUTPUT_FORMAT_FRAGMENTED_MP4;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the output ", options.output, " is neither an .mp4 file nor a folder",
                     "\nGive it a name that ends in .mp4, or in / for a folder of PNG frames, or "
                     "choose with --format."));
  }
  const bool frames = options.format != v1::OUTPUT_FORMAT_FRAGMENTED_MP4;
  if (frames && options.output == "-") {
    return absl::InvalidArgumentError("frames cannot go to standard output; name a folder");
  }
  if (!frames && folder) {
    return absl::InvalidArgumentError(
        absl::StrCat("the output ", options.output, " is a folder; name an .mp4 file"));
  }
  return options.format;
}

absl::StatusOr<std::unique_ptr<Output>> OpenOutput(const std::string& path,
                                                   v1::OutputFormat format) {
  if (path == "-") return CreateStandardOutput();
  if (format == v1::OUTPUT_FORMAT_FRAGMENTED_MP4) return CreateFileOutput(path);
  return CreateFolderOutput(path, format == v1::OUTPUT_FORMAT_JPEG ? "jpg" : "png");
}

// Whether a file's first bytes are those of a video container that the server reads.
bool LooksLikeVideo(std::string_view bytes) {
  using std::string_view_literals::operator""sv;
  const auto has = [&](size_t at, std::string_view mark) {
    return bytes.size() >= at + mark.size() && bytes.substr(at, mark.size()) == mark;
  };
  constexpr size_t kTransportPacket = 188;
  return has(4, "ftyp") || has(4, "moov") || has(4, "mdat") || has(4, "wide") ||  // MP4, MOV
         has(0, "\x1A\x45\xDF\xA3"sv) ||                                          // Matroska, WebM
         (has(0, "RIFF") && has(8, "AVI ")) || has(0, "FLV\x01"sv) || has(0, "OggS") ||
         has(0, "GIF8") || (has(0, "G") && has(kTransportPacket, "G"));
}

// The request as the server gets it. Reads the source.
// Reads a pair's files, where there are any.
absl::Status ReadPictures(const std::string& source, const std::string& source_reference,
                          const std::string& driver_reference, v1::Source& proto,
                          const std::function<v1::FaceSelection*()>& driver_face) {
  if (!source.empty()) {
    auto image = ReadWholeFile(source, kMaxSourceBytes);
    if (!image.ok()) return image.status();
    if (image->empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the source ", source, " is empty"));
    }
    *(LooksLikeVideo(*image) ? proto.mutable_video() : proto.mutable_image()) = std::move(*image);
  }
  if (!source_reference.empty()) {
    auto image = ReadWholeFile(source_reference, kMaxSourceBytes);
    if (!image.ok()) return image.status();
    proto.mutable_face()->set_reference_image(*std::move(image));
  }
  if (!driver_reference.empty()) {
    auto image = ReadWholeFile(driver_reference, kMaxSourceBytes);
    if (!image.ok()) return image.status();
    driver_face()->set_reference_image(*std::move(image));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::JobConfig> MakeConfig(const RunOptions& options, v1::OutputFormat format) {
  v1::JobConfig config = options.config;
  if (options.source.empty() && config.source().text().empty()) {
    return absl::InvalidArgumentError("there is no source: give --source, --text or both");
  }
  const absl::Status pictures =
      ReadPictures(options.source, options.source_reference, options.driver_reference,
                   *config.mutable_source(), [&] { return config.mutable_driver_face(); });
  if (!pictures.ok()) return pictures;
  for (const PairOptions& further : options.pairs) {
    v1::FacePair& pair = *config.add_further_faces() = further.pair;
    const absl::Status read =
        ReadPictures(further.source, further.source_reference, further.driver_reference,
                     *pair.mutable_source(), [&] { return pair.mutable_driver_face(); });
    if (!read.ok()) return read;
  }
  config.mutable_output()->set_format(format);
  config.mutable_output()->set_poster(!options.poster.empty());
  if (options.quality.has_value()) {
    if (format == v1::OUTPUT_FORMAT_PNG) {
      return absl::InvalidArgumentError("--quality has no meaning for PNG, which loses nothing");
    }
    if (format == v1::OUTPUT_FORMAT_JPEG) {
      config.mutable_output()->set_jpeg_quality(*options.quality);
    } else {
      config.mutable_output()->set_crf(*options.quality);
    }
  }
  return config;
}

// Reads all answers into `output` and, if it is not null, `poster`. OK: the job has succeeded and
// `summary` is set.
absl::Status Follow(JobStream& job, Output& output, Output* poster, Progress& progress,
                    v1::Summary& summary) {
  bool have_summary = false, have_poster = false;
  while (true) {
    auto next = job.Next();
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    v1::ReenactResponse& answer = **next;
    switch (answer.payload_case()) {
      case v1::ReenactResponse::kAccepted:
        progress.Say(answer.accepted().queue_position() > 0
                         ? absl::StrCat("job ", answer.accepted().job_id(), ", ",
                                        answer.accepted().queue_position(), " ahead of it")
                         : absl::StrCat("job ", answer.accepted().job_id()));
        break;
      case v1::ReenactResponse::kProgress:
        progress.Update(StateOf(answer.progress()));
        break;
      case v1::ReenactResponse::kVideo:
        if (absl::Status written = output.WriteVideo(answer.video().data()); !written.ok()) {
          return absl::AbortedError(written.message());
        }
        break;
      case v1::ReenactResponse::kFrame: {
        const v1::Frame& frame = answer.frame();
        const absl::Status written =
            output.WriteFrame({frame.index(), frame.pts(), frame.time_base().numerator(),
                               frame.time_base().denominator(), frame.data()});
        if (!written.ok()) return absl::AbortedError(written.message());
        break;
      }
      case v1::ReenactResponse::kPoster:
        if (poster == nullptr) break;
        have_poster = true;
        if (absl::Status written = poster->WriteVideo(answer.poster().jpeg()); !written.ok()) {
          return absl::AbortedError(written.message());
        }
        break;
      case v1::ReenactResponse::kSummary:
        summary = std::move(*answer.mutable_summary());
        have_summary = true;
        break;
      case v1::ReenactResponse::PAYLOAD_NOT_SET:
        break;  // an answer of a later version of the contract
    }
  }
  if (!have_summary) return absl::InternalError("the server ended the job without a summary");
  if (poster != nullptr && !have_poster) return absl::InternalError("the server sent no poster");
  return absl::OkStatus();
}

void ShowSummary(const v1::Summary& summary, const std::string& output, absl::Duration time) {
  absl::FPrintF(stderr, "reenact: %s: %d frames in %s, model %s, seed %d%s\n",
                output == "-" ? "standard output" : output, summary.frames_out(),
                absl::FormatDuration(absl::Trunc(time, absl::Milliseconds(100))), summary.model(),
                summary.seed(), summary.audio_copied() ? ", with sound" : "");
  if (summary.rows() > 0) {
    absl::FPrintF(stderr, "  %d rows, of their places %d padding\n", summary.rows(),
                  summary.padding_slots());
  }
  if (summary.has_live()) {
    absl::FPrintF(stderr, "  live: %d frames in, %s\n", summary.live().frames_in(),
                  Describe(LiveOf(summary.live())));
  }
  for (int i = 0; i < summary.further_frame_faces_size(); ++i) {
    const auto& origins = summary.further_frame_faces(i).origin();
    absl::FPrintF(stderr, "  pair %d: its driver's face was found in %d of %d frames\n", i + 1,
                  std::count(origins.begin(), origins.end(), v1::FrameFaces::ORIGIN_FOUND),
                  origins.size());
  }
  for (const std::string& note : summary.notes()) absl::FPrintF(stderr, "  note: %s\n", note);
  for (int i = 0; i < summary.frame_notes_size() && i < kNotesShown; ++i) {
    absl::FPrintF(stderr, "  frame %d: %s\n", summary.frame_notes(i).frame(),
                  summary.frame_notes(i).note());
  }
  if (summary.frame_notes_size() > kNotesShown) {
    absl::FPrintF(stderr, "  and %d more frames with notes (--json shows all)\n",
                  summary.frame_notes_size() - kNotesShown);
  }
}

// A job that can be started: what is checked before there is a server.
struct Prepared {
  v1::JobConfig config;
  std::unique_ptr<Output> output;
  std::unique_ptr<Output> poster;  // null: none is asked for
};

absl::StatusOr<Prepared> Prepare(const CommonOptions& common, const RunOptions& options) {
  if (options.output == "-" && common.json) {
    return absl::InvalidArgumentError("--json and -o - both want standard output");
  }
  const auto format = ChooseFormat(options);
  if (!format.ok()) return format.status();
  for (const std::string& input : {options.source, options.driving}) {
    if (SameFile(input, options.output)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the output ", options.output, " is one of the inputs"));
    }
  }
  for (const std::string& other : {options.source, options.driving, options.output}) {
    if (options.poster.empty()) break;
    if (options.poster == other || SameFile(other, options.poster)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the poster ", options.poster, " is the output or one of the inputs"));
    }
  }
  auto config = MakeConfig(options, *format);
  if (!config.ok()) return config.status();
  auto output = OpenOutput(options.output, *format);
  if (!output.ok()) return output.status();
  Prepared prepared{.config = *std::move(config), .output = *std::move(output), .poster = nullptr};
  if (!options.poster.empty()) {
    auto poster = CreateFileOutput(options.poster);
    if (!poster.ok()) return poster.status();
    prepared.poster = *std::move(poster);
  }
  return prepared;
}

// Starts the job with `driving` (a MediaSource or a FrameSource) and sees it through. Signal number
// `cancelling_signal` cancels it, those before end a FrameSource, those after kill a private
// server.
template <typename Source>
ExitCode RunJob(const CommonOptions& common, const RunOptions& options, Prepared prepared,
                std::unique_ptr<Source> driving, int cancelling_signal,
                Interruption& interruption) {
  const absl::Time start_time = absl::Now();
  const JobNames names = {
      options.source, options.driving == "-" ? "standard input" : options.driving, common.server};
  Progress progress(stderr, Progress::StyleFor(stderr, common.quiet));
  auto access = OpenServer(common, interruption, progress);
  if (!access.ok()) {
    progress.Finish();
    return Fail(common, access.status(), names);
  }
  JobOptions job_options;
  job_options.timeout = options.deadline;
  // Whoever loses a private server has lost it for good.
  if (access->process != nullptr) job_options.resume_timeout = absl::ZeroDuration();
  job_options.on_connection_lost = [&progress](const absl::Status& why) {
    progress.Say(absl::StrCat("connection lost (", why.message(), "), trying again"));
  };
  job_options.on_resumed = [&progress] { progress.Say("connection lost, resumed"); };
  const std::shared_ptr<JobStream> job =
      access->client->Start(std::move(prepared.config), std::move(driving), job_options);
  interruption.OnSignal([job, cancelling_signal, server = access->process](int count) {
    count < cancelling_signal ? job->StopSource() : job->Cancel();
    if (count > cancelling_signal && server != nullptr) server->Kill();
  });
  v1::Summary summary;
  absl::Status status = Follow(*job, *prepared.output, prepared.poster.get(), progress, summary);
  if (!status.ok()) job->Cancel();
  interruption.OnSignal([server = access->process](int count) {
    if (count > 1 && server != nullptr) server->Kill();
  });
  progress.Finish();
  if (!status.ok()) {
    if (interruption.count() >= cancelling_signal) {
      return Fail(common, kInterrupted, absl::StatusCode::kCancelled,
                  "interrupted; the job was cancelled and nothing was written");
    }
    return Fail(common, access->Why(status), names);
  }
  for (Output* written : {prepared.poster.get(), prepared.output.get()}) {
    if (written == nullptr) continue;
    if (absl::Status committed = written->Commit(); !committed.ok()) {
      return Fail(common, kJobFailed, committed.code(), std::string(committed.message()));
    }
  }
  if (common.json) {
    absl::PrintF("{\"output\":%s,\"summary\":%s}\n", JsonText(options.output), Json(summary));
  }
  if (!common.quiet) ShowSummary(summary, options.output, absl::Now() - start_time);
  return kDone;
}

}  // namespace

ExitCode Run(const CommonOptions& common, const RunOptions& options, Interruption& interruption) {
  auto prepared = Prepare(common, options);
  if (!prepared.ok()) return FailLocally(common, prepared.status());
  auto driving = OpenMediaFile(options.driving);
  if (!driving.ok()) return FailLocally(common, driving.status());
  return RunJob(common, options, *std::move(prepared), *std::move(driving), 1, interruption);
}

ExitCode RunLive(const CommonOptions& common, const LiveRunOptions& options,
                 Interruption& interruption) {
  auto prepared = Prepare(common, options.run);
  if (!prepared.ok()) return FailLocally(common, prepared.status());
  auto driving = OpenJpegStream(options.run.driving, options.stream);
  if (!driving.ok()) return FailLocally(common, driving.status());
  const TimeUnit unit = TimeUnitOf(options.stream);
  v1::TimeBase& time_base = *prepared->config.mutable_live()->mutable_time_base();
  time_base.set_numerator(unit.num);
  time_base.set_denominator(unit.den);
  // Ctrl-C is how a camera is switched off.
  return RunJob(common, options.run, *std::move(prepared), *std::move(driving), 2, interruption);
}

ExitCode ExtractMotion(const CommonOptions& common, const ExtractMotionOptions& options,
                       Interruption& interruption) {
  v1::ExtractMotionConfig config = options.config;
  if (!options.driver_reference.empty()) {
    auto image = ReadWholeFile(options.driver_reference, kMaxSourceBytes);
    if (!image.ok()) return FailLocally(common, image.status());
    config.mutable_driver_face()->set_reference_image(*std::move(image));
  }
  if (common.json && options.output == "-") {
    return FailLocally(common, absl::InvalidArgumentError(
                                   "--json and -o - both want standard output; choose one"));
  }
  if (SameFile(options.driving, options.output)) {
    return FailLocally(common, absl::InvalidArgumentError(absl::StrCat(
                                   "the output ", options.output, " is the driving video")));
  }
  auto driving = OpenMediaFile(options.driving);
  if (!driving.ok()) return FailLocally(common, driving.status());
  auto output = OpenOutput(options.output, v1::OUTPUT_FORMAT_FRAGMENTED_MP4);
  if (!output.ok()) return FailLocally(common, output.status());

  const absl::Time start_time = absl::Now();
  const JobNames names = {"", options.driving, common.server};
  Progress progress(stderr, Progress::StyleFor(stderr, common.quiet));
  auto access = OpenServer(common, interruption, progress);
  if (!access.ok()) {
    progress.Finish();
    return Fail(common, access.status(), names);
  }
  const std::shared_ptr<MotionStream> motion = access->client->ExtractMotion(
      std::move(config), *std::move(driving), {.timeout = options.deadline});
  interruption.OnSignal([motion, server = access->process](int count) {
    motion->Cancel();
    if (count > 1 && server != nullptr) server->Kill();
  });
  absl::Status status;
  while (true) {
    auto chunk = motion->Next();
    status = chunk.status();
    if (!chunk.ok() || !chunk->has_value()) break;
    if (absl::Status written = (*output)->WriteVideo(**chunk); !written.ok()) {
      motion->Cancel();
      status = absl::AbortedError(written.message());
      break;
    }
  }
  interruption.OnSignal([server = access->process](int count) {
    if (count > 1 && server != nullptr) server->Kill();
  });
  progress.Finish();
  if (!status.ok()) {
    if (interruption.count() >= 1) {
      return Fail(common, kInterrupted, absl::StatusCode::kCancelled,
                  "interrupted; nothing was written");
    }
    return Fail(common, access->Why(status), names);
  }
  if (absl::Status committed = (*output)->Commit(); !committed.ok()) {
    return Fail(common, kJobFailed, committed.code(), std::string(committed.message()));
  }
  const v1::ExtractMotionSummary& summary = motion->summary();
  if (common.json) {
    absl::PrintF("{\"output\":%s,\"summary\":%s}\n", JsonText(options.output), Json(summary));
  }
  if (!common.quiet) {
    absl::FPrintF(
        stderr, "reenact: %s: the motion of %d frames, %d of them with a face, in %s%s, %d bytes\n",
        options.output == "-" ? "standard output" : options.output, summary.frames(),
        summary.frames_with_face(),
        absl::FormatDuration(absl::Trunc(absl::Now() - start_time, absl::Milliseconds(100))),
        summary.audio_copied() ? ", with sound" : "", summary.bytes_out());
    for (const std::string& note : summary.notes()) absl::FPrintF(stderr, "  note: %s\n", note);
  }
  return kDone;
}

ExitCode ListModels(const CommonOptions& common, Interruption& interruption) {
  const JobNames names = {"", "", common.server};
  Progress progress(stderr, Progress::StyleFor(stderr, common.quiet || common.json));
  auto access = OpenServer(common, interruption, progress);
  if (!access.ok()) return Fail(common, access.status(), names);
  const auto models = access->client->ListModels();
  if (!models.ok()) return Fail(common, access->Why(models.status()), names);
  if (common.json) {
    absl::PrintF("%s\n", Json(*models));
    return kDone;
  }
  for (const v1::ModelInfo& model : models->models()) {
    std::vector<std::string> samplers;
    for (const int sampler : model.samplers()) {
      samplers.push_back(absl::StrCat(sampler == v1::SAMPLER_DDIM            ? "ddim"
                                      : sampler == v1::SAMPLER_DDPM          ? "ddpm"
                                      : sampler == v1::SAMPLER_DPM_SOLVER_PP ? "dpm-solver++"
                                                                             : "other",
                                      sampler == model.default_sampler() ? " (default)" : ""));
    }
    absl::PrintF("%s%s\n", model.name(), &model == &models->models(0) ? "  (default)" : "");
    absl::PrintF("  picture    %d x %d, up to %d on request\n", model.image_size(),
                 model.image_size(), model.max_output_size());
    absl::PrintF("  frames     %d at a time, %d at most\n", model.frames_per_row(),
                 model.max_frames());
    absl::PrintF("  steps      %d (at most %d), guidance %g\n", model.default_num_steps(),
                 model.max_num_steps(), model.default_guidance_scale());
    absl::PrintF("  samplers   %s\n", absl::StrJoin(samplers, ", "));
    absl::PrintF("  source     %s%s%s\n", model.accepts_image() ? "image" : "",
                 model.accepts_image() && model.accepts_text() ? ", " : "",
                 model.accepts_text() ? "text" : "");
    absl::PrintF("  driving    %d MiB at most, %d pixels a frame\n",
                 model.max_driving_bytes() >> 20, model.max_image_pixels());
    absl::PrintF("  device     %s\n", model.device());
    absl::PrintF("  licence    %s\n", model.licence());
    absl::PrintF("  bundle     %s\n", model.bundle_sha256());
  }
  return kDone;
}

ExitCode ShowHealth(const CommonOptions& common) {
  const JobNames names = {"", "", common.server};
  const auto client = Client::Connect(common.server, {.tenant = common.tenant});
  if (!client.ok()) return Fail(common, client.status(), names);
  const auto alive = (*client)->CheckHealth("");
  if (!alive.ok()) return Fail(common, alive.status(), names);
  const auto ready = (*client)->CheckHealth(kReadyService);
  if (!ready.ok()) return Fail(common, ready.status(), names);
  const bool is_alive = *alive == Health::kServing;
  const bool is_ready = *ready == Health::kServing;
  if (common.json) {
    absl::PrintF("{\"server\":%s,\"alive\":%s,\"ready\":%s}\n", JsonText(common.server),
                 is_alive ? "true" : "false", is_ready ? "true" : "false");
  } else if (!common.quiet) {
    absl::PrintF("%s: %s, %s\n", common.server, is_alive ? "alive" : "not alive",
                 is_ready ? "ready" : "not ready");
  }
  return is_alive && is_ready ? kDone : kNoServer;
}

ExitCode CancelJob(const CommonOptions& common, const std::string& job_id) {
  const JobNames names = {"", "", common.server};
  const auto client = Client::Connect(common.server, {.tenant = common.tenant});
  if (!client.ok()) return Fail(common, client.status(), names);
  const auto job = (*client)->CancelJob(job_id);
  if (!job.ok()) return Fail(common, job.status(), names);
  const bool too_late = job->state() == v1::JOB_STATE_SUCCEEDED ||
                        job->state() == v1::JOB_STATE_FAILED ||
                        job->state() == v1::JOB_STATE_EXPIRED;
  if (common.json) {
    absl::PrintF("%s\n", Json(*job));
  } else if (!common.quiet) {
    absl::PrintF("job %s %s\n", job_id, too_late ? "was over already" : "is cancelled");
  }
  return kDone;
}

}  // namespace reenact::tool
