// `reenact`: the command line of the client library.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "client/tool/commands.h"
#include "client/tool/pair_text.h"

namespace reenact::tool {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done; 1 the job failed; 2 wrong usage or a file that cannot be used;\n"
    "3 server not reachable or not ready; 4 cancelled or past its deadline.";

constexpr char kLiveFooter[] =
    "Ctrl-C ends the driving, and the job ends with what was sent; a second one cancels it.\n"
    "With -o - the video can be watched while it is made: ... | reenact live ... -o - | ffplay -\n";

constexpr char kDefaultServer[] = "localhost:50051";

// "90", "90s", "1m30s".
std::string CheckDuration(std::string& text) {
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) text += "s";
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()) return "";
  return "'" + text + "' is not a time such as 90s or 2m";
}

void AddServer(CLI::App& command, CommonOptions& common, const std::string& without) {
  command
      .add_option("--server", common.server,
                  "The server: host:port or unix:PATH. Without it: " + without)
      ->envname("REENACT_SERVER")
      ->type_name("ADDRESS");
  command
      .add_option("--tenant", common.tenant,
                  "Whose jobs these are, for a server that does not authenticate its clients")
      ->envname("REENACT_TENANT")
      ->type_name("NAME");
}

void AddPrivateServer(CLI::App& command, CommonOptions& common, std::string& start_timeout) {
  command
      .add_option("--bundle", common.bundle,
                  "Model bundle of the private server. Default: the demo bundle")
      ->envname("REENACT_BUNDLE")
      ->type_name("FOLDER");
  command
      .add_option("--face-models", common.face_models,
                  "Landmark models of the private server, if the bundle does not hold them")
      ->type_name("FOLDER");
  command
      .add_option("--start-timeout", start_timeout,
                  "How long the private server may take to be ready. Default: 2m")
      ->transform(CLI::Validator(CheckDuration, "TIME"));
}

void AddVoice(CLI::App& command, CommonOptions& common) {
  command.add_flag("--quiet,-q", common.quiet, "Print errors only");
  command.add_flag("--json", common.json, "Print the result as JSON on standard output");
}

// A choice among words; case does not count, and "_" is "-".
template <typename Enum>
void AddChoice(CLI::App& command, const std::string& flag, Enum& value,
               const std::vector<std::pair<std::string, Enum>>& words, const std::string& help) {
  std::vector<std::string> names;
  for (const auto& [word, unused] : words) names.push_back(word);
  command
      .add_option_function<std::string>(
          flag,
          [&value, words, names, flag](const std::string& text) {
            const std::string plain =
                absl::StrReplaceAll(absl::AsciiStrToLower(text), {{"_", "-"}});
            for (const auto& [word, meaning] : words) {
              if (word == plain) {
                value = meaning;
                return;
              }
            }
            throw CLI::ValidationError(
                flag, absl::StrCat("'", text, "' is not one of ", absl::StrJoin(names, ", ")));
          },
          help)
      ->type_name(absl::StrJoin(names, "|"));
}

// What `run` and `live` share, as it stands on the command line.
struct JobFlags {
  v1::Sampler sampler = v1::SAMPLER_UNSPECIFIED;
  v1::SequencePlan plan = v1::SEQUENCE_PLAN_UNSPECIFIED;
  v1::LongVideoMethod method = v1::LONG_VIDEO_METHOD_UNSPECIFIED;
  v1::AnchorPlacement anchors = v1::ANCHOR_PLACEMENT_UNSPECIFIED;
  v1::NoFacePolicy no_face = v1::NO_FACE_POLICY_UNSPECIFIED;
  v1::MotionMode motion = v1::MOTION_MODE_UNSPECIFIED;
  v1::VideoCodec codec = v1::VIDEO_CODEC_UNSPECIFIED;
  v1::Matte matte = v1::MATTE_UNSPECIFIED;
  v1::EncodingSpeed speed = v1::ENCODING_SPEED_UNSPECIFIED;
  v1::FaceSelection source_face, driver_face;
  std::string deadline;

  void ApplyTo(RunOptions& run) const {
    absl::ParseDuration(deadline, &run.deadline);
    run.config.set_sampler(sampler);
    run.config.set_sequence_plan(plan);
    run.config.set_long_video_method(method);
    run.config.set_anchor_placement(anchors);
    run.config.set_no_face_policy(no_face);
    run.config.mutable_output()->set_codec(codec);
    run.config.mutable_output()->set_speed(speed);
    run.config.mutable_output()->set_matte(matte);
    if (source_face.by_case() != v1::FaceSelection::BY_NOT_SET) {
      *run.config.mutable_source()->mutable_face() = source_face;
    }
    if (driver_face.by_case() != v1::FaceSelection::BY_NOT_SET) {
      *run.config.mutable_driver_face() = driver_face;
    }
    if (motion != v1::MOTION_MODE_UNSPECIFIED) run.config.mutable_motion()->set_mode(motion);
  }
};

// Which of several faces is meant, as a word on the command line; pictures are read later.
void ReadFace(const std::string& text, v1::FaceSelection& face, std::string& reference) {
  face.Clear();
  reference.clear();
  int32_t index = 0;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ',');
  double x = 0, y = 0;
  if (text == "largest") return;
  if (absl::SimpleAtoi(text, &index)) {
    face.set_index(index);
  } else if (parts.size() == 2 && absl::SimpleAtod(parts[0], &x) &&
             absl::SimpleAtod(parts[1], &y)) {
    face.mutable_position()->set_x(x);
    face.mutable_position()->set_y(y);
  } else {
    reference = text;
  }
}

void AddFace(CLI::App& command, const std::string& name, v1::FaceSelection& face,
             std::string& reference, const std::string& of) {
  command
      .add_option_function<std::string>(
          name, [&face, &reference](const std::string& text) { ReadFace(text, face, reference); },
          "Which face of the " + of +
              ": largest; N, from the left, 0 is the first; X,Y, nearest to that place (0 to 1); "
              "or a picture of the person. Default: largest")
      ->type_name("FACE");
}

// How pictures become the output.
void AddEncoding(CLI::App& command, RunOptions& run, JobFlags& flags) {
  const std::vector<std::pair<std::string, v1::VideoCodec>> codecs = {
      {"h264", v1::VIDEO_CODEC_H264},
      {"vp9", v1::VIDEO_CODEC_VP9},
      {"av1", v1::VIDEO_CODEC_AV1},
      {"mjpeg", v1::VIDEO_CODEC_MJPEG},
      {"lossless", v1::VIDEO_CODEC_LOSSLESS}};
  AddChoice(command, "--codec", flags.codec, codecs, "Of an MP4. Default: h264");
  const std::vector<std::pair<std::string, v1::EncodingSpeed>> speeds = {
      {"fastest", v1::ENCODING_SPEED_FASTEST},
      {"fast", v1::ENCODING_SPEED_FAST},
      {"medium", v1::ENCODING_SPEED_MEDIUM},
      {"slow", v1::ENCODING_SPEED_SLOW}};
  AddChoice(command, "--encoding-speed", flags.speed, speeds,
            "Slower makes smaller files of the same quality. Default: fast");
  command.add_flag_callback(
      "--paste-back",
      [&run] { run.config.mutable_output()->set_composition(v1::COMPOSITION_PASTE_BACK); },
      "Put the generated square back into the whole source picture, or the source video's frames");
  AddChoice(command, "--matte", flags.matte,
            {{"none", v1::MATTE_NONE}, {"alpha", v1::MATTE_ALPHA}, {"below", v1::MATTE_BELOW}},
            "Tell which part of the picture is the generated face: as the alpha channel of PNG "
            "frames, or as a grey picture below each picture. Default: none");
}

// How the driver's motion is put on the source's face.
void AddMotion(CLI::App& command, RunOptions& run, JobFlags& flags) {
  const std::vector<std::pair<std::string, v1::MotionMode>> modes = {
      {"relative", v1::MOTION_MODE_RELATIVE}, {"absolute", v1::MOTION_MODE_ABSOLUTE}};
  AddChoice(command, "--motion", flags.motion, modes,
            "relative: the source keeps the shape of its face; absolute: it takes the driver's. "
            "Default: relative for a picture");
  const auto scale = [&](const std::string& name, void (v1::MotionConfig::*set)(double),
                         const std::string& help) {
    command
        .add_option_function<double>(
            name, [&run, set](double value) { (run.config.mutable_motion()->*set)(value); }, help)
        ->type_name("X");
  };
  scale("--motion-strength", &v1::MotionConfig::set_strength,
        "Of all of the driver's motion, 0 to 1.5. Default: 1");
  scale("--motion-pose", &v1::MotionConfig::set_pose, "Of the head's, 0 to 2. Default: 1");
  scale("--motion-mouth", &v1::MotionConfig::set_mouth,
        "Of lips, jaw and lower cheeks, 0 to 2. Default: 1");
  scale("--motion-eyes", &v1::MotionConfig::set_eyes,
        "Of lids, brows and forehead, 0 to 2. Default: 1");
  scale("--motion-gaze", &v1::MotionConfig::set_gaze, "Of the gaze, 0 to 2. Default: 1");
  scale("--source-expression", &v1::MotionConfig::set_source_expression,
        "How much of the source's own open mouth, smile and closed eyes stays, 0 to 1. Default: 0");
  command
      .add_option_function<double>(
          "--smoothing", [&run](double strength) { run.config.set_smoothing(strength); },
          "How much trembling of the landmarks is taken out, 0 (none) to 4. Default: 1")
      ->type_name("X");
}

// A server takes an empty text for none.
const std::string& CheckText(const std::string& flag, const std::string& text) {
  if (absl::StripAsciiWhitespace(text).empty()) {
    throw CLI::ValidationError(flag, "the text is empty; it must have a word");
  }
  return text;
}

void ReadEdit(const std::string& flag, const std::string& text, v1::TextEdit& edit) {
  const std::vector<std::string> parts = absl::StrSplit(text, "=>");
  if (parts.size() != 2) {
    throw CLI::ValidationError(flag, "'" + text + "' is not 'FROM => TO'");
  }
  edit.set_from(std::string(absl::StripAsciiWhitespace(parts[0])));
  edit.set_to(std::string(absl::StripAsciiWhitespace(parts[1])));
}

// "driver-face=1; source=b.png": the flags of a pair without their dashes, for SplitPair.
PairOptions ReadPair(const std::string& text) {
  const auto fail = [](const std::string& why) { throw CLI::ValidationError("--pair", why); };
  PairOptions options;
  v1::Source& source = *options.pair.mutable_source();
  bool has_driver = false, has_face = false;
  const auto parts = SplitPair(text);
  if (!parts.ok()) fail(std::string(parts.status().message()));
  for (const auto& [key, value] : *parts) {
    double strength = 0;
    if (key == "driver-face") {
      ReadFace(value, *options.pair.mutable_driver_face(), options.driver_reference);
      has_driver = true;
    } else if (key == "source-face") {
      ReadFace(value, *source.mutable_face(), options.source_reference);
      has_face = true;
    } else if (key == "source") {
      options.source = value;
    } else if (key == "text") {
      source.set_text(CheckText("--pair", value));
    } else if (key == "edit") {
      ReadEdit("--pair", value, *source.mutable_edit());
    } else if (key == "strength" && absl::SimpleAtod(value, &strength)) {
      source.set_edit_strength(strength);
    } else {
      fail(absl::StrCat("'", key, "=", value,
                        "' is not one of driver-face=FACE, source-face=FACE, source=FILE, "
                        "text=TEXT, edit=FROM => TO, strength=X"));
    }
  }
  if (!has_driver) fail("'" + text + "' has no driver-face=FACE");
  if (!has_face && options.source.empty() && source.text().empty()) {
    fail("'" + text +
         "' has neither a source-face=FACE of the picture of --source nor a source of "
         "its own");
  }
  return options;
}

void AddPairs(CLI::App& command, RunOptions& run) {
  command
      .add_option_function<std::vector<std::string>>(
          "--pair",
          [&run](const std::vector<std::string>& pairs) {
            for (const std::string& text : pairs) run.pairs.push_back(ReadPair(text));
          },
          "A further face, driven by another face of the driving video; at most 3 times. "
          "driver-face=FACE and either source-face=FACE, another face of --source, or "
          "source=FILE (with source-face, text, edit, strength as the flags of these names). A "
          "value with a ; stands in double quotes, text=\"long hair; a hat\", in which \\\" is a "
          "quote and \\\\ a backslash. The squares stand side by side, or are all put back with "
          "--paste-back")
      ->type_name("'driver-face=1; source=b.png'")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void AddSource(CLI::App& command, RunOptions& run) {
  command
      .add_option("--source,-s", run.source,
                  "Picture of the person (PNG, JPEG, WebP, ...), or a video, of which the frame "
                  "that shows the face best is taken")
      ->type_name("IMAGE|VIDEO");
  command
      .add_option_function<std::string>(
          "--text,-t",
          [&run](const std::string& text) {
            run.config.mutable_source()->set_text(CheckText("--text", text));
          },
          "Description of the person; beside --source it edits the picture")
      ->type_name("TEXT");
  command
      .add_option_function<std::string>(
          "--edit",
          [&run](const std::string& text) {
            ReadEdit("--edit", text, *run.config.mutable_source()->mutable_edit());
          },
          "Changes the person of --source by the difference of two descriptions, such as 'brown "
          "hair => red hair'")
      ->type_name("'FROM => TO'");
  command
      .add_option_function<double>(
          "--strength,--edit-strength",
          [&run](double strength) { run.config.mutable_source()->set_edit_strength(strength); },
          "Weight of --text beside --source, or length of --edit, 0 to 1. Default: 0.5")
      ->type_name("X");
}

void AddOutput(CLI::App& command, RunOptions& run) {
  command
      .add_option("--output,--out,-o", run.output,
                  "Result: a file OUT.mp4, a folder OUT/ for frames, or - for standard output")
      ->required()
      ->type_name("OUT");
  command
      .add_option("--poster", run.poster,
                  "Write the first picture here too: a JPEG file of at most 512 pixels a side")
      ->type_name("FILE");
}

void AddJob(CLI::App& command, RunOptions& run, JobFlags& flags) {
  command
      .add_option_function<std::string>(
          "--model", [&run](const std::string& name) { run.config.set_model(name); },
          "Name of the model. Default: the server's first (`reenact models`)")
      ->type_name("NAME");
  command
      .add_option_function<int32_t>(
          "--priority", [&run](int32_t priority) { run.config.set_priority(priority); },
          "Which of the tenant's jobs goes first, -100 to 100: higher first. Default: 0")
      ->type_name("N");
  command
      .add_option_function<uint64_t>(
          "--seed", [&run](uint64_t seed) { run.config.set_seed(seed); },
          "Seed of all random numbers. Default: 0")
      ->type_name("N");
  command
      .add_option_function<int32_t>(
          "--steps", [&run](int32_t steps) { run.config.set_num_steps(steps); },
          "Denoising steps. Default: the model's")
      ->type_name("N");
  const std::vector<std::pair<std::string, v1::Sampler>> samplers = {
      {"ddim", v1::SAMPLER_DDIM},
      {"ddpm", v1::SAMPLER_DDPM},
      {"dpm-solver++", v1::SAMPLER_DPM_SOLVER_PP}};
  AddChoice(command, "--sampler", flags.sampler, samplers, "Default: the model's");
  command
      .add_option_function<double>(
          "--eta", [&run](double eta) { run.config.set_ddim_eta(eta); },
          "Fresh noise per DDIM step, 0 to 1. Default: 0")
      ->type_name("X");
  command
      .add_option_function<double>(
          "--guidance", [&run](double scale) { run.config.set_guidance_scale(scale); },
          "Classifier-free guidance; 1 turns it off. Default: the model's")
      ->type_name("X");
  const std::vector<std::pair<std::string, v1::OutputFormat>> formats = {
      {"mp4", v1::OUTPUT_FORMAT_FRAGMENTED_MP4},
      {"jpeg", v1::OUTPUT_FORMAT_JPEG},
      {"png", v1::OUTPUT_FORMAT_PNG}};
  AddChoice(command, "--format", run.format, formats, "Default: mp4 for a file, png for a folder");
  command
      .add_option_function<int32_t>(
          "--size", [&run](int32_t size) { run.config.mutable_output()->set_size(size); },
          "Side of the square picture in pixels. Default: the model's")
      ->type_name("PIXELS");
  command
      .add_option("--quality", run.quality,
                  "mp4: CRF, 0 (best) to 51, default 20. jpeg: 1 to 100 (best), default 90")
      ->type_name("N");
  const std::vector<std::pair<std::string, v1::NoFacePolicy>> policies = {
      {"interpolate", v1::NO_FACE_POLICY_INTERPOLATE},
      {"hold", v1::NO_FACE_POLICY_HOLD},
      {"fail", v1::NO_FACE_POLICY_FAIL}};
  AddChoice(command, "--no-face", flags.no_face, policies,
            "What to do with a driving frame without a face. Default: interpolate");
  AddFace(command, "--source-face", flags.source_face, run.source_reference, "source");
  AddFace(command, "--driver-face", flags.driver_face, run.driver_reference, "driving video");
  AddMotion(command, run, flags);
  AddEncoding(command, run, flags);
  command
      .add_option("--deadline", flags.deadline,
                  "Give up when the job takes longer, such as 90s or 5m")
      ->transform(CLI::Validator(CheckDuration, "TIME"));
}

// How a video longer than a row of frames is made; not of `live`.
void AddLongVideo(CLI::App& command, RunOptions& run, JobFlags& flags) {
  const std::vector<std::pair<std::string, v1::SequencePlan>> plans = {
      {"central-random", v1::SEQUENCE_PLAN_CENTRAL_RANDOM},
      {"central-interleaved", v1::SEQUENCE_PLAN_CENTRAL_INTERLEAVED},
      {"contiguous", v1::SEQUENCE_PLAN_CONTIGUOUS},
      {"balanced", v1::SEQUENCE_PLAN_BALANCED}};
  AddChoice(command, "--plan", flags.plan, plans,
            "Which frames are made together; contiguous gives the first ones soonest, balanced "
            "takes the least work. Default: central-random");
  const std::vector<std::pair<std::string, v1::LongVideoMethod>> methods = {
      {"anchored", v1::LONG_VIDEO_METHOD_ANCHORED},
      {"multidiffusion", v1::LONG_VIDEO_METHOD_MULTIDIFFUSION},
      {"overlapped", v1::LONG_VIDEO_METHOD_OVERLAPPED},
      {"independent", v1::LONG_VIDEO_METHOD_INDEPENDENT}};
  AddChoice(command, "--method", flags.method, methods,
            "How a long video is held together: by an anchor frame, or by windows of neighbouring "
            "frames that overlap or know nothing of each other. Default: anchored");
  command
      .add_option_function<int32_t>(
          "--window", [&run](int32_t frames) { run.config.mutable_window()->set_frames(frames); },
          "Frames of a window, at most the model's row; not with --method anchored. Default: the "
          "model's row")
      ->type_name("FRAMES");
  command
      .add_option_function<int32_t>(
          "--overlap", [&run](int32_t frames) { run.config.mutable_window()->set_overlap(frames); },
          "Frames that a window shares with the one before. Default: half of a window with "
          "multidiffusion, a quarter with overlapped")
      ->type_name("FRAMES");
  const std::vector<std::pair<std::string, v1::AnchorPlacement>> anchors = {
      {"single", v1::ANCHOR_PLACEMENT_SINGLE}, {"per-scene", v1::ANCHOR_PLACEMENT_PER_SCENE}};
  AddChoice(command, "--anchors", flags.anchors, anchors,
            "One anchor frame for the whole video, or one for each of its scenes. Default: single");
}

void AddLive(CLI::App& command, LiveRunOptions& live) {
  command
      .add_option("--driving,-d", live.run.driving,
                  "Stream of JPEG pictures, such as `ffmpeg ... -f mjpeg -` writes: a file, a "
                  "pipe, or - for standard input. Default: -")
      ->type_name("STREAM");
  command
      .add_option_function<std::string>(
          "--fps",
          [&live](const std::string& text) {
            const auto rate = ParseFrameRate(text);
            if (!rate.ok()) {
              throw CLI::ValidationError("--fps", std::string(rate.status().message()));
            }
            live.stream.rate = *rate;
          },
          "Frames per second, such as 25, 29.97 or 30000/1001: they set the output's time stamps. "
          "Without it, time stamps tell when a frame came")
      ->type_name("RATE");
  command.add_flag("--pace", live.stream.pace,
                   "Send a frame no earlier than a camera of --fps would have: for a stream that "
                   "is faster, such as a file");
  command
      .add_option_function<std::string>(
          "--skip",
          [&live](const std::string& word) {
            live.run.config.mutable_live()->set_skip_policy(word == "never" ? v1::SKIP_POLICY_WAIT
                                                                            : v1::SKIP_POLICY_SKIP);
          },
          "What becomes of frames that the server cannot keep up with: late ones are skipped "
          "(late), or all wait (never). Default: late")
      ->check(CLI::IsMember({"late", "never"}))
      ->type_name("late|never");
  command
      .add_option_function<std::string>(
          "--max-wait",
          [&live](const std::string& text) {
            absl::Duration wait;
            absl::ParseDuration(text, &wait);
            auto& proto = *live.run.config.mutable_live()->mutable_max_wait();
            proto.set_seconds(absl::IDivDuration(wait, absl::Seconds(1), &wait));
            proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(wait)));
          },
          "Longest that a frame waits for others to be generated with, such as 100ms. Default: "
          "250ms")
      ->transform(CLI::Validator(CheckDuration, "TIME"));
}

int Main(int argc, char** argv) {
  // First of all: later threads inherit which signals are blocked.
  Interruption interruption;
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, told as such

  CLI::App app("Animates a portrait with the motion of a driving video.", "reenact");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "reenact 0.1.0");

  CommonOptions common;
  RunOptions run;
  LiveRunOptions live;
  live.run.driving = "-";
  JobFlags job_flags;
  std::string start_timeout;

  CLI::App& run_command = *app.add_subcommand("run", "Make a video");
  run_command.footer(kFooter);
  AddSource(run_command, run);
  run_command
      .add_option("--driving,-d", run.driving,
                  "Video whose motion is taken, a still picture, or a file of `reenact "
                  "extract-motion`")
      ->required()
      ->type_name("VIDEO");
  AddPairs(run_command, run);
  AddOutput(run_command, run);
  AddServer(run_command, common, "a private reenactd is started and ended");
  AddPrivateServer(run_command, common, start_timeout);
  AddJob(run_command, run, job_flags);
  AddLongVideo(run_command, run, job_flags);
  run_command.add_flag_callback(
      "--no-audio", [&run] { run.config.mutable_output()->set_copy_audio(false); },
      "Leave the driving video's sound out");
  AddVoice(run_command, common);

  CLI::App& live_command =
      *app.add_subcommand("live", "Make a video while its driving frames come in");
  live_command.footer(absl::StrCat(kLiveFooter, kFooter));
  AddSource(live_command, live.run);
  AddLive(live_command, live);
  AddOutput(live_command, live.run);
  AddServer(live_command, common, "a private reenactd is started and ended");
  AddPrivateServer(live_command, common, start_timeout);
  AddJob(live_command, live.run, job_flags);
  AddVoice(live_command, common);

  CLI::App& motion_command = *app.add_subcommand(
      "extract-motion",
      "Read a video's motion into a small file that `reenact run` takes as --driving");
  motion_command.footer(kFooter);
  ExtractMotionOptions motion;
  v1::FaceSelection driver_face;
  std::string motion_deadline;
  motion_command.add_option("--driving,-d", motion.driving, "Video whose motion is read")
      ->required()
      ->type_name("VIDEO");
  motion_command
      .add_option("--output,--out,-o", motion.output,
                  "Result: a file such as clip.motion, or - for standard output")
      ->required()
      ->type_name("OUT");
  AddFace(motion_command, "--driver-face", driver_face, motion.driver_reference, "driving video");
  motion_command.add_flag_callback(
      "--no-audio", [&motion] { motion.config.set_copy_audio(false); },
      "Leave the driving video's sound out");
  motion_command
      .add_option("--deadline", motion_deadline, "Give up when it takes longer, such as 90s or 5m")
      ->transform(CLI::Validator(CheckDuration, "TIME"));
  AddServer(motion_command, common, "a private reenactd is started and ended");
  AddPrivateServer(motion_command, common, start_timeout);
  AddVoice(motion_command, common);

  CLI::App& models_command = *app.add_subcommand("models", "List the models and their limits");
  AddServer(models_command, common, "a private reenactd is started and ended");
  AddPrivateServer(models_command, common, start_timeout);
  AddVoice(models_command, common);

  CLI::App& health_command =
      *app.add_subcommand("health", "Ask whether a server is alive and ready (exit code 0)");
  AddServer(health_command, common, kDefaultServer);
  AddVoice(health_command, common);

  CLI::App& cancel_command = *app.add_subcommand("cancel", "Cancel a job");
  std::string job_id;
  cancel_command.add_option("job", job_id, "The job's id, as `reenact run` tells it")->required();
  AddServer(cancel_command, common, kDefaultServer);
  AddVoice(cancel_command, common);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kBadInput;
  }

  absl::ParseDuration(start_timeout, &common.start_timeout);
  if (run_command.parsed()) {
    job_flags.ApplyTo(run);
    return Run(common, run, interruption);
  }
  if (live_command.parsed()) {
    if (live.stream.pace && !live.stream.rate.has_value()) {
      absl::FPrintF(stderr,
                    "--pace: needs --fps, which says how fast\nRun with --help for more.\n");
      return kBadInput;
    }
    job_flags.ApplyTo(live.run);
    live.run.config.mutable_live();
    return RunLive(common, live, interruption);
  }
  if (motion_command.parsed()) {
    absl::ParseDuration(motion_deadline, &motion.deadline);
    if (driver_face.by_case() != v1::FaceSelection::BY_NOT_SET) {
      *motion.config.mutable_driver_face() = driver_face;
    }
    return ExtractMotion(common, motion, interruption);
  }
  if (models_command.parsed()) return ListModels(common, interruption);
  if (common.server.empty()) common.server = kDefaultServer;
  if (health_command.parsed()) return ShowHealth(common);
  return CancelJob(common, job_id);
}

}  // namespace
}  // namespace reenact::tool

int main(int argc, char** argv) { return reenact::tool::Main(argc, argv); }
