#include "server/convert.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "pipeline/face/motion_options.h"
#include "pipeline/face/motion_smoothing.h"
#include "pipeline/media/video_encoding.h"
#include "server/proto_time.h"

namespace reenact {
namespace {

// Longest Source.text in bytes: many times what a tokenizer keeps.
constexpr size_t kMaxTextBytes = 1000;
constexpr int kMinOutputSize = 16;
constexpr double kMaxGuidanceScale = 20;
constexpr int kMaxPriority = 100;
constexpr int kMaxFaceIndex = 63;
constexpr int kMaxFurtherFaces = 3;
constexpr size_t kMaxIdempotencyKeyBytes = 128;
constexpr int32_t kMaxTimeBasePart = 1'000'000'000;
constexpr absl::Duration kMaxLiveWait = absl::Seconds(10);

using Problems = std::vector<std::string>;

template <typename Number>
void CheckRange(absl::string_view field, Number value, Number low, Number high,
                Problems& problems) {
  // Written so that NaN is outside.
  if (!(value >= low && value <= high)) {
    problems.push_back(absl::StrCat(field, " is ", value, ", must be ", low, " to ", high));
  }
}

// A field that only means something beside another one.
void CheckUnused(absl::string_view field, bool is_set, absl::string_view needed,
                 Problems& problems) {
  if (is_set) problems.push_back(absl::StrCat(field, " is set, must be unset without ", needed));
}

void AddUnknownEnum(absl::string_view field, int value, int num_values, Problems& problems) {
  problems.push_back(absl::StrCat(field, " is ", value, ", must be 0 to ", num_values - 1));
}

v1::Sampler ToProto(Sampler sampler) {
  switch (sampler) {
    case Sampler::kDdim:
      return v1::SAMPLER_DDIM;
    case Sampler::kDdpm:
      return v1::SAMPLER_DDPM;
    case Sampler::kDpmSolverPp:
      return v1::SAMPLER_DPM_SOLVER_PP;
  }
  return v1::SAMPLER_UNSPECIFIED;
}

v1::OutputFormat ToProto(OutputFormat format) {
  switch (format) {
    case OutputFormat::kFragmentedMp4:
      return v1::OUTPUT_FORMAT_FRAGMENTED_MP4;
    case OutputFormat::kJpeg:
      return v1::OUTPUT_FORMAT_JPEG;
    case OutputFormat::kPng:
      return v1::OUTPUT_FORMAT_PNG;
    case OutputFormat::kRawRgb:
      return v1::OUTPUT_FORMAT_RAW_RGB;
  }
  return v1::OUTPUT_FORMAT_UNSPECIFIED;
}

// A text of a source: of bounded length, and with something to read.
void CheckText(absl::string_view field, const std::string& text, bool needed, Problems& problems) {
  if (text.size() > kMaxTextBytes) {
    problems.push_back(
        absl::StrCat(field, " has ", text.size(), " bytes, must have at most ", kMaxTextBytes));
  } else if (needed && text.empty()) {
    problems.push_back(absl::StrCat(field, " has 0 bytes, must have 1 to ", kMaxTextBytes));
  } else if (!text.empty() && absl::StripAsciiWhitespace(text).empty()) {
    problems.push_back(absl::StrCat(field, " is only white space, must have a word"));
  }
}

// `name`: of the field that `source` is.
SourceRequest ReadSource(absl::string_view name, v1::Source& source, const ModelInfo& model,
                         Problems& problems) {
  SourceRequest request;
  const auto field = [name](absl::string_view part) { return absl::StrCat(name, ".", part); };
  const bool has_image = !source.image().empty(), has_video = !source.video().empty();
  const bool has_picture = has_image || has_video;
  const bool has_text = !source.text().empty(), has_edit = source.has_edit();
  for (const auto& [part, is_set] : {std::pair("image", has_image), {"video", has_video}}) {
    if (is_set && !model.accepts_image) {
      problems.push_back(
          absl::StrCat(field(part), " is set, but model \"", model.name, "\" takes no image"));
    }
  }
  if (has_image && has_video) {
    problems.push_back(
        absl::StrCat(field("video"), " is set, must be unset beside ", field("image")));
  }
  if (static_cast<int64_t>(source.video().size()) > model.max_driving_bytes) {
    problems.push_back(absl::StrCat(field("video"), " has ", source.video().size(),
                                    " bytes, must have at most ", model.max_driving_bytes));
  }
  for (const auto& [part, is_set] : {std::pair("text", has_text), {"edit", has_edit}}) {
    if (is_set && !model.accepts_text) {
      problems.push_back(
          absl::StrCat(field(part), " is set, but model \"", model.name, "\" takes no text"));
    }
  }
  CheckText(field("text"), source.text(), /*needed=*/false, problems);
  if (has_edit) {
    CheckUnused(field("edit"), !has_picture, "a picture", problems);
    if (has_text) {
      problems.push_back(
          absl::StrCat(field("edit"), " is set, must be unset beside ", field("text")));
    }
    CheckText(field("edit.from"), source.edit().from(), /*needed=*/true, problems);
    CheckText(field("edit.to"), source.edit().to(), /*needed=*/true, problems);
    request.edit_from = std::move(*source.mutable_edit()->mutable_from());
    request.edit_to = std::move(*source.mutable_edit()->mutable_to());
  }
  if (source.has_edit_strength()) {
    CheckUnused(field("edit_strength"), !has_picture || !(has_text || has_edit),
                "a picture and a text or edit", problems);
    CheckRange(field("edit_strength"), source.edit_strength(), 0.0, 1.0, problems);
    request.edit_strength = source.edit_strength();
  }
  request.image = std::move(*source.mutable_image());
  request.video = std::move(*source.mutable_video());
  request.text = std::move(*source.mutable_text());
  return request;
}

LiveOptions ReadLive(const v1::LiveConfig& live, Problems& problems) {
  LiveOptions options;
  if (live.has_time_base()) {
    CheckRange("live.time_base.numerator", live.time_base().numerator(), 1, kMaxTimeBasePart,
               problems);
    CheckRange("live.time_base.denominator", live.time_base().denominator(), 1, kMaxTimeBasePart,
               problems);
    options.time_base_num = live.time_base().numerator();
    options.time_base_den = live.time_base().denominator();
  }
  switch (live.skip_policy()) {
    case v1::SKIP_POLICY_UNSPECIFIED:
    case v1::SKIP_POLICY_SKIP:
      options.skip = SkipPolicy::kSkip;
      break;
    case v1::SKIP_POLICY_WAIT:
      options.skip = SkipPolicy::kWait;
      break;
    default:
      AddUnknownEnum("live.skip_policy", live.skip_policy(), v1::SkipPolicy_ARRAYSIZE, problems);
  }
  if (live.has_max_wait()) {
    options.max_wait =
        absl::Seconds(live.max_wait().seconds()) + absl::Nanoseconds(live.max_wait().nanos());
    if (options.max_wait < absl::ZeroDuration() || options.max_wait > kMaxLiveWait) {
      problems.push_back(absl::StrCat("live.max_wait is ", absl::FormatDuration(options.max_wait),
                                      ", must be 0 to ", absl::FormatDuration(kMaxLiveWait)));
    }
  }
  return options;
}

void ReadSampling(const v1::JobConfig& config, const ModelInfo& model, JobRequest& request,
                  Problems& problems) {
  request.seed = config.seed();
  if (config.has_num_steps()) {
    CheckRange("num_steps", config.num_steps(), 2, model.max_num_steps, problems);
    request.num_steps = config.num_steps();
  }
  switch (config.sampler()) {
    case v1::SAMPLER_UNSPECIFIED:
      break;
    case v1::SAMPLER_DDIM:
      request.sampler = Sampler::kDdim;
      break;
    case v1::SAMPLER_DDPM:
      request.sampler = Sampler::kDdpm;
      break;
    case v1::SAMPLER_DPM_SOLVER_PP:
      request.sampler = Sampler::kDpmSolverPp;
      break;
    default:
      AddUnknownEnum("sampler", config.sampler(), v1::Sampler_ARRAYSIZE, problems);
  }
  if (request.sampler.has_value() && std::find(model.samplers.begin(), model.samplers.end(),
                                               *request.sampler) == model.samplers.end()) {
    std::vector<std::string> names;
    for (Sampler sampler : model.samplers) names.push_back(v1::Sampler_Name(ToProto(sampler)));
    problems.push_back(absl::StrCat("sampler is ", v1::Sampler_Name(config.sampler()),
                                    ", must be one of ", absl::StrJoin(names, ", ")));
  }
  if (config.has_ddim_eta()) {
    CheckUnused("ddim_eta", request.sampler.value_or(model.default_sampler) != Sampler::kDdim,
                "SAMPLER_DDIM", problems);
    CheckRange("ddim_eta", config.ddim_eta(), 0.0, 1.0, problems);
    request.ddim_eta = config.ddim_eta();
  }
  if (config.has_guidance_scale()) {
    CheckRange("guidance_scale", config.guidance_scale(), 0.0, kMaxGuidanceScale, problems);
    request.guidance_scale = config.guidance_scale();
  }
  switch (config.sequence_plan()) {
    case v1::SEQUENCE_PLAN_UNSPECIFIED:
    case v1::SEQUENCE_PLAN_CENTRAL_RANDOM:
      request.plan = SequencePlan::kCentralRandom;
      break;
    case v1::SEQUENCE_PLAN_CENTRAL_INTERLEAVED:
      request.plan = SequencePlan::kCentralInterleaved;
      break;
    case v1::SEQUENCE_PLAN_CONTIGUOUS:
      request.plan = SequencePlan::kContiguous;
      break;
    case v1::SEQUENCE_PLAN_BALANCED:
      request.plan = SequencePlan::kBalanced;
      break;
    default:
      AddUnknownEnum("sequence_plan", config.sequence_plan(), v1::SequencePlan_ARRAYSIZE, problems);
  }
  if (config.has_live()) {
    request.live = ReadLive(config.live(), problems);
    if (config.sequence_plan() != v1::SEQUENCE_PLAN_UNSPECIFIED &&
        config.sequence_plan() != v1::SEQUENCE_PLAN_CONTIGUOUS &&
        v1::SequencePlan_IsValid(config.sequence_plan())) {
      problems.push_back(absl::StrCat("sequence_plan is ",
                                      v1::SequencePlan_Name(config.sequence_plan()),
                                      ", must be SEQUENCE_PLAN_CONTIGUOUS or unset with live"));
    }
    request.plan = SequencePlan::kContiguous;
  }
  switch (config.no_face_policy()) {
    case v1::NO_FACE_POLICY_UNSPECIFIED:
    case v1::NO_FACE_POLICY_INTERPOLATE:
      request.no_face = NoFacePolicy::kInterpolate;
      break;
    case v1::NO_FACE_POLICY_HOLD:
      request.no_face = NoFacePolicy::kHold;
      break;
    case v1::NO_FACE_POLICY_FAIL:
      request.no_face = NoFacePolicy::kFail;
      break;
    default:
      AddUnknownEnum("no_face_policy", config.no_face_policy(), v1::NoFacePolicy_ARRAYSIZE,
                     problems);
  }
}

FaceSelection ReadFace(v1::FaceSelection& face) {
  FaceSelection selection;
  switch (face.by_case()) {
    case v1::FaceSelection::kIndex:
      selection.by = FaceSelection::By::kIndex;
      selection.index = face.index();
      break;
    case v1::FaceSelection::kPosition:
      selection.by = FaceSelection::By::kPosition;
      selection.x = face.position().x();
      selection.y = face.position().y();
      break;
    case v1::FaceSelection::kReferenceImage:
      selection.by = FaceSelection::By::kReference;
      selection.reference_image = std::move(*face.mutable_reference_image());
      break;
    case v1::FaceSelection::BY_NOT_SET:
      break;
  }
  return selection;
}

void CheckFace(absl::string_view field, const FaceSelection& face, Problems& problems) {
  CheckRange(absl::StrCat(field, ".index"), face.index, 0, kMaxFaceIndex, problems);
  CheckRange(absl::StrCat(field, ".position.x"), face.x, 0.0, 1.0, problems);
  CheckRange(absl::StrCat(field, ".position.y"), face.y, 0.0, 1.0, problems);
  if (face.by == FaceSelection::By::kReference && face.reference_image.empty()) {
    problems.push_back(absl::StrCat(field, ".reference_image has 0 bytes, must have 1 or more"));
  }
}

FaceSelection ReadFace(absl::string_view field, v1::FaceSelection& face, Problems& problems) {
  FaceSelection selection = ReadFace(face);
  CheckFace(field, selection, problems);
  return selection;
}

// The pairs beyond the first, which is read.
void ReadFurtherFaces(v1::JobConfig& config, const ModelInfo& model, JobRequest& request,
                      Problems& problems) {
  if (config.further_faces_size() > kMaxFurtherFaces) {
    problems.push_back(absl::StrCat("further_faces has ", config.further_faces_size(),
                                    " entries, must have at most ", kMaxFurtherFaces));
  }
  if (config.further_faces_size() > 0 && config.has_live()) {
    problems.emplace_back("further_faces is set, must be empty in a live job");
  }
  const bool pastes = config.output().composition() == v1::COMPOSITION_PASTE_BACK;
  // Where two pairs mean one face by its index: those before, by the picture and the face's place.
  std::map<int, std::string> drivers, sources;
  const auto take_turn = [&problems](std::map<int, std::string>& taken, const FaceSelection& face,
                                     const std::string& field) {
    if (face.by != FaceSelection::By::kIndex) return;
    const auto [before, is_new] = taken.emplace(face.index, field);
    if (is_new) return;
    problems.push_back(
        absl::StrCat(field, ".index is ", face.index, ", must not be that of ", before->second));
  };
  take_turn(drivers, request.driver_face, "driver_face");
  take_turn(sources, request.source.face, "source.face");
  for (int i = 0; i < config.further_faces_size(); ++i) {
    v1::FacePair& pair = *config.mutable_further_faces(i);
    const std::string name = absl::StrCat("further_faces[", i, "]");
    const std::string source = absl::StrCat(name, ".source"), face = absl::StrCat(source, ".face");
    const std::string driver = absl::StrCat(name, ".driver_face");
    const bool has_face = pair.source().has_face();
    FacePair read;
    read.source = ReadSource(source, *pair.mutable_source(), model, problems);
    read.source.face = ReadFace(face, *pair.mutable_source()->mutable_face(), problems);
    if (!read.source.video.empty()) {
      problems.push_back(
          absl::StrCat(source, ".video is set, must be unset: only source may be a video"));
    } else if (read.source.has_picture() || !read.source.text.empty()) {
      if (pastes) {
        problems.push_back(absl::StrCat(
            source, " has a picture or a text, must have only a face with COMPOSITION_PASTE_BACK"));
      }
    } else if (!request.source.has_picture()) {
      problems.push_back(
          absl::StrCat(source, " is empty, must have a picture or a text: source has no picture"));
    } else if (!has_face) {
      problems.push_back(absl::StrCat(face, " is unset, must be set without a picture or a text"));
    } else {
      take_turn(sources, read.source.face, face);
    }
    if (!pair.has_driver_face()) {
      problems.push_back(absl::StrCat(driver, " is unset, must be set"));
    }
    read.driver_face = ReadFace(driver, *pair.mutable_driver_face(), problems);
    take_turn(drivers, read.driver_face, driver);
    request.further_faces.push_back(std::move(read));
  }
}

void ReadFaces(v1::JobConfig& config, const ModelInfo& model, JobRequest& request,
               Problems& problems) {
  v1::Source& source = *config.mutable_source();
  request.source = ReadSource("source", source, model, problems);
  if (!request.source.has_picture() && request.source.text.empty()) {
    problems.push_back(absl::StrCat("source is empty, must have ",
                                    model.accepts_image && model.accepts_text ? "an image or a text"
                                    : model.accepts_image                     ? "an image"
                                                                              : "a text"));
  }
  request.source.face = ReadFace("source.face", *source.mutable_face(), problems);
  request.driver_face = ReadFace("driver_face", *config.mutable_driver_face(), problems);
  ReadFurtherFaces(config, model, request, problems);
}

// An enum of the engine's whose values are those of the contract less the unspecified one.
template <typename Enum>
void ReadEnum(absl::string_view field, int value, int array_size, Enum& result,
              Problems& problems) {
  if (value < 0 || value >= array_size) {
    AddUnknownEnum(field, value, array_size, problems);
  } else if (value > 0) {
    result = static_cast<Enum>(value - 1);
  }
}
static_assert(static_cast<int>(VideoCodec::kLossless) + 1 == v1::VIDEO_CODEC_LOSSLESS);
static_assert(static_cast<int>(EncodingQuality::kHigh) + 1 == v1::ENCODING_QUALITY_HIGH);
static_assert(static_cast<int>(EncodingSpeed::kSlow) + 1 == v1::ENCODING_SPEED_SLOW);
static_assert(static_cast<int>(FrameFace::Origin::kHeld) + 1 == v1::FrameFaces::ORIGIN_HELD);
static_assert(static_cast<int>(Composition::kPasteBack) + 1 == v1::COMPOSITION_PASTE_BACK);
static_assert(static_cast<int>(Matte::kBelow) + 1 == v1::MATTE_BELOW);
static_assert(static_cast<int>(LongVideoMethod::kIndependent) + 1 ==
              v1::LONG_VIDEO_METHOD_INDEPENDENT);
static_assert(static_cast<int>(AnchorPlacement::kPerScene) + 1 == v1::ANCHOR_PLACEMENT_PER_SCENE);

void ReadWindow(const v1::WindowConfig& window, const ModelInfo& model, JobRequest& request,
                Problems& problems) {
  int frames = model.frames_per_row;
  if (window.has_frames()) {
    CheckRange("window.frames", window.frames(), 1, model.frames_per_row, problems);
    request.window.frames = window.frames();
    frames = std::clamp(window.frames(), 1, model.frames_per_row);
  }
  if (!window.has_overlap()) return;
  if (request.method == LongVideoMethod::kIndependent) {
    problems.emplace_back(
        "window.overlap is set, must be unset with LONG_VIDEO_METHOD_INDEPENDENT");
  } else {
    CheckRange("window.overlap", window.overlap(), 0, frames - 1, problems);
  }
  request.window.overlap = window.overlap();
}

void ReadLongVideo(const v1::JobConfig& config, const ModelInfo& model, JobRequest& request,
                   Problems& problems) {
  ReadEnum("long_video_method", config.long_video_method(), v1::LongVideoMethod_ARRAYSIZE,
           request.method, problems);
  ReadEnum("anchor_placement", config.anchor_placement(), v1::AnchorPlacement_ARRAYSIZE,
           request.anchors, problems);
  const bool anchored = request.method == LongVideoMethod::kAnchored;
  if (config.has_window()) {
    if (anchored) {
      problems.emplace_back("window is set, must be unset with LONG_VIDEO_METHOD_ANCHORED");
    } else {
      ReadWindow(config.window(), model, request, problems);
    }
  }
  if (request.anchors == AnchorPlacement::kPerScene && anchored &&
      request.plan == SequencePlan::kContiguous) {
    problems.emplace_back(
        "anchor_placement is ANCHOR_PLACEMENT_PER_SCENE, must be ANCHOR_PLACEMENT_SINGLE or unset "
        "with SEQUENCE_PLAN_CONTIGUOUS and with live");
  }
  if (anchored) return;
  const std::string& method = v1::LongVideoMethod_Name(config.long_video_method());
  if (config.has_live()) {
    problems.push_back(absl::StrCat("long_video_method is ", method,
                                    ", must be LONG_VIDEO_METHOD_ANCHORED or unset with live"));
  }
  const auto only_anchored = [&](const char* field, const std::string& value) {
    problems.push_back(absl::StrCat(field, " is ", value, ", must be unset with ", method));
  };
  if (config.anchor_placement() != v1::ANCHOR_PLACEMENT_UNSPECIFIED) {
    only_anchored("anchor_placement", v1::AnchorPlacement_Name(config.anchor_placement()));
  }
  if (config.sequence_plan() != v1::SEQUENCE_PLAN_UNSPECIFIED) {
    only_anchored("sequence_plan", v1::SequencePlan_Name(config.sequence_plan()));
  }
}

void ReadMotion(const v1::JobConfig& config, JobRequest& request, Problems& problems) {
  const v1::MotionConfig& motion = config.motion();
  switch (motion.mode()) {
    case v1::MOTION_MODE_UNSPECIFIED:
      break;
    case v1::MOTION_MODE_RELATIVE:
      if (!request.source.has_picture()) {
        problems.push_back(
            "motion.mode is MOTION_MODE_RELATIVE, must be MOTION_MODE_ABSOLUTE or unset without a "
            "source.image or source.video");
      }
      request.motion_mode = MotionMode::kRelative;
      break;
    case v1::MOTION_MODE_ABSOLUTE:
      request.motion_mode = MotionMode::kAbsolute;
      break;
    default:
      AddUnknownEnum("motion.mode", motion.mode(), v1::MotionMode_ARRAYSIZE, problems);
  }
  if (motion.has_strength()) request.motion.strength = motion.strength();
  if (motion.has_pose()) request.motion.pose = motion.pose();
  if (motion.has_mouth()) request.motion.mouth = motion.mouth();
  if (motion.has_eyes()) request.motion.eyes = motion.eyes();
  if (motion.has_gaze()) request.motion.gaze = motion.gaze();
  if (motion.has_source_expression()) {
    request.motion.source_expression = motion.source_expression();
  }
  if (const absl::Status status = CheckMotionOptions(request.motion); !status.ok()) {
    problems.emplace_back(status.message());
  }
  if (config.has_smoothing()) request.smoothing = config.smoothing();
  if (const absl::Status status = CheckSmoothingOptions({.strength = request.smoothing});
      !status.ok()) {
    problems.emplace_back(status.message());
  }
}

// The fields that are the server's business and not the engine's.
void CheckTerms(const v1::JobConfig& config, Problems& problems) {
  CheckRange("priority", config.priority(), -kMaxPriority, kMaxPriority, problems);
  if (config.idempotency_key().size() > kMaxIdempotencyKeyBytes) {
    problems.push_back(absl::StrCat("idempotency_key has ", config.idempotency_key().size(),
                                    " bytes, must have at most ", kMaxIdempotencyKeyBytes));
  }
}

void ReadOutput(const v1::OutputConfig& output, const ModelInfo& model, JobRequest& request,
                Problems& problems) {
  switch (output.format()) {
    case v1::OUTPUT_FORMAT_UNSPECIFIED:
    case v1::OUTPUT_FORMAT_FRAGMENTED_MP4:
      request.format = OutputFormat::kFragmentedMp4;
      break;
    case v1::OUTPUT_FORMAT_JPEG:
      request.format = OutputFormat::kJpeg;
      break;
    case v1::OUTPUT_FORMAT_PNG:
      request.format = OutputFormat::kPng;
      break;
    case v1::OUTPUT_FORMAT_RAW_RGB:
      request.format = OutputFormat::kRawRgb;
      break;
    default:
      AddUnknownEnum("output.format", output.format(), v1::OutputFormat_ARRAYSIZE, problems);
  }
  if (output.has_size()) {
    CheckRange("output.size", output.size(), kMinOutputSize, model.max_output_size, problems);
    if (output.size() % 2 != 0) {
      problems.push_back(absl::StrCat("output.size is ", output.size(), ", must be even"));
    }
    request.output_size = output.size();
  }
  ReadEnum("output.codec", output.codec(), v1::VideoCodec_ARRAYSIZE, request.encoding.codec,
           problems);
  ReadEnum("output.quality", output.quality(), v1::EncodingQuality_ARRAYSIZE,
           request.encoding.quality, problems);
  ReadEnum("output.speed", output.speed(), v1::EncodingSpeed_ARRAYSIZE, request.encoding.speed,
           problems);
  ReadEnum("output.composition", output.composition(), v1::Composition_ARRAYSIZE,
           request.composition, problems);
  const bool is_video = request.format == OutputFormat::kFragmentedMp4;
  if (output.codec() != v1::VIDEO_CODEC_UNSPECIFIED) {
    CheckUnused("output.codec", !is_video, "OUTPUT_FORMAT_FRAGMENTED_MP4", problems);
  }
  if (output.has_crf()) {
    CheckUnused("output.crf", !is_video, "OUTPUT_FORMAT_FRAGMENTED_MP4", problems);
    const CrfRange range = CrfRangeOf(request.encoding.codec);
    CheckRange("output.crf", output.crf(), range.min, range.max, problems);
    if (request.encoding.codec == VideoCodec::kLossless) {
      problems.emplace_back("output.crf is set, must be unset with VIDEO_CODEC_LOSSLESS");
    }
    request.encoding.crf = output.crf();
  }
  if (request.composition == Composition::kPasteBack) {
    if (!request.source.has_picture()) {
      problems.emplace_back(
          "output.composition is COMPOSITION_PASTE_BACK, must be COMPOSITION_CROP or unset without "
          "a source.image or source.video");
    }
    if (output.has_size()) {
      problems.emplace_back("output.size is set, must be unset with COMPOSITION_PASTE_BACK");
    }
  }
  if (output.has_jpeg_quality()) {
    CheckUnused("output.jpeg_quality", request.format != OutputFormat::kJpeg, "OUTPUT_FORMAT_JPEG",
                problems);
    CheckRange("output.jpeg_quality", output.jpeg_quality(), 1, 100, problems);
    request.jpeg_quality = output.jpeg_quality();
  }
  if (output.has_copy_audio()) request.copy_audio = output.copy_audio();
  request.poster = output.poster();
  ReadEnum("output.matte", output.matte(), v1::Matte_ARRAYSIZE, request.matte, problems);
  if (request.matte == Matte::kAlpha && request.format != OutputFormat::kPng &&
      request.format != OutputFormat::kRawRgb) {
    problems.emplace_back(
        "output.matte is MATTE_ALPHA, must be MATTE_BELOW, MATTE_NONE or unset without "
        "OUTPUT_FORMAT_PNG or OUTPUT_FORMAT_RAW_RGB");
  }
}

}  // namespace

absl::StatusOr<JobRequest> ToJobRequest(v1::JobConfig config,
                                        const std::vector<ModelInfo>& models) {
  const auto named = std::find_if(models.begin(), models.end(), [&](const ModelInfo& model) {
    return model.name == config.model();
  });
  const auto model = config.model().empty() ? models.begin() : named;
  if (model == models.end()) {
    const std::string names =
        absl::StrJoin(models, ", ", [](std::string* out, const ModelInfo& known) {
          absl::StrAppend(out, "\"", known.name, "\"");
        });
    return absl::NotFoundError(
        absl::StrCat("model is \"", config.model(), "\", must be one of ", names));
  }

  JobRequest request;
  request.model = model->name;
  Problems problems;
  ReadFaces(config, *model, request, problems);
  ReadSampling(config, *model, request, problems);
  ReadLongVideo(config, *model, request, problems);
  ReadMotion(config, request, problems);
  ReadOutput(config.output(), *model, request, problems);
  CheckTerms(config, problems);
  if (!problems.empty()) return absl::InvalidArgumentError(absl::StrJoin(problems, "; "));
  return request;
}

absl::StatusOr<MotionRequest> ToMotionRequest(v1::ExtractMotionConfig config) {
  MotionRequest request;
  Problems problems;
  request.driver_face = ReadFace(*config.mutable_driver_face());
  CheckFace("driver_face", request.driver_face, problems);
  if (config.has_copy_audio()) request.copy_audio = config.copy_audio();
  if (!problems.empty()) return absl::InvalidArgumentError(absl::StrJoin(problems, "; "));
  return request;
}

v1::ExtractMotionSummary ToProto(const MotionSummary& summary) {
  v1::ExtractMotionSummary proto;
  proto.set_frames(summary.frames);
  proto.set_frames_with_face(summary.frames_with_face);
  proto.set_bytes_out(summary.bytes_out);
  proto.set_audio_copied(summary.audio_copied);
  for (const FrameNote& note : summary.frame_notes) {
    v1::FrameNote* frame_note = proto.add_frame_notes();
    frame_note->set_frame(note.frame);
    frame_note->set_note(note.note);
  }
  for (const std::string& note : summary.notes) proto.add_notes(note);
  return proto;
}

v1::ModelInfo ToProto(const ModelInfo& model) {
  v1::ModelInfo proto;
  proto.set_name(model.name);
  proto.set_bundle_sha256(model.bundle_sha256);
  proto.set_licence(model.licence);
  proto.set_image_size(model.image_size);
  proto.set_frames_per_row(model.frames_per_row);
  for (Sampler sampler : model.samplers) proto.add_samplers(ToProto(sampler));
  proto.set_default_sampler(ToProto(model.default_sampler));
  proto.set_default_num_steps(model.default_num_steps);
  proto.set_max_num_steps(model.max_num_steps);
  proto.set_default_guidance_scale(model.default_guidance_scale);
  proto.set_accepts_image(model.accepts_image);
  proto.set_accepts_text(model.accepts_text);
  proto.set_max_driving_bytes(model.max_driving_bytes);
  proto.set_max_frames(model.max_frames);
  proto.set_max_image_pixels(model.max_image_pixels);
  proto.set_max_output_size(model.max_output_size);
  for (OutputFormat format : {OutputFormat::kFragmentedMp4, OutputFormat::kJpeg, OutputFormat::kPng,
                              OutputFormat::kRawRgb}) {
    proto.add_output_formats(ToProto(format));
  }
  proto.set_device(model.device);
  return proto;
}

v1::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kReceiving:
      return v1::JOB_STATE_RECEIVING;
    case JobState::kPreparing:
      return v1::JOB_STATE_PREPARING;
    case JobState::kWaiting:
      return v1::JOB_STATE_WAITING;
    case JobState::kRunning:
      return v1::JOB_STATE_RUNNING;
    case JobState::kSucceeded:
      return v1::JOB_STATE_SUCCEEDED;
    case JobState::kFailed:
      return v1::JOB_STATE_FAILED;
    case JobState::kCancelled:
      return v1::JOB_STATE_CANCELLED;
    case JobState::kExpired:
      return v1::JOB_STATE_EXPIRED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

v1::LiveStatus ToProto(const LiveStatus& status) {
  v1::LiveStatus proto;
  proto.set_frames_in(status.frames_in);
  proto.set_frames_skipped(status.frames_skipped);
  *proto.mutable_lag() = ToProto(status.lag);
  proto.set_real_time_ratio(status.real_time_ratio);
  return proto;
}

namespace {

void FillFrameFaces(const std::vector<FrameFace>& faces, v1::FrameFaces& proto) {
  for (const FrameFace& face : faces) {
    proto.add_origin(static_cast<v1::FrameFaces::Origin>(static_cast<int>(face.origin) + 1));
    proto.add_confidence(face.confidence);
    proto.add_person(face.person);
  }
}

}  // namespace

v1::Summary ToProto(const JobSummary& summary, const JobPlan& plan) {
  v1::Summary proto;
  proto.set_model(summary.model);
  proto.set_bundle_sha256(summary.bundle_sha256);
  proto.set_seed(summary.seed);
  proto.set_frames_in(summary.frames_in);
  proto.set_frames_out(summary.frames_out);
  proto.set_steps_run(summary.steps_run);
  proto.set_rows_run(summary.rows_run);
  proto.set_rows(plan.num_rows);
  proto.set_padding_slots(plan.num_padding_slots);
  proto.set_audio_copied(summary.audio_copied);
  for (const FrameNote& note : summary.frame_notes) {
    v1::FrameNote* frame_note = proto.add_frame_notes();
    frame_note->set_frame(note.frame);
    frame_note->set_note(note.note);
  }
  for (const std::string& note : summary.notes) proto.add_notes(note);
  if (!summary.frame_faces.empty()) {
    FillFrameFaces(summary.frame_faces, *proto.mutable_frame_faces());
  }
  for (const std::vector<FrameFace>& faces : summary.further_frame_faces) {
    FillFrameFaces(faces, *proto.add_further_frame_faces());
  }
  v1::StageTimes* times = proto.mutable_stage_times();
  *times->mutable_decode() = ToProto(summary.decode_time);
  *times->mutable_landmarks() = ToProto(summary.landmark_time);
  *times->mutable_embed() = ToProto(summary.embed_time);
  *times->mutable_denoise() = ToProto(summary.denoise_time);
  *times->mutable_render() = ToProto(summary.render_time);
  return proto;
}

int64_t MediaBytes(const v1::ReenactResponse& answer) {
  switch (answer.payload_case()) {
    case v1::ReenactResponse::kVideo:
      return static_cast<int64_t>(answer.video().data().size());
    case v1::ReenactResponse::kFrame:
      return static_cast<int64_t>(answer.frame().data().size());
    case v1::ReenactResponse::kPoster:
      return static_cast<int64_t>(answer.poster().jpeg().size());
    default:
      return 0;
  }
}

v1::ReenactResponse ToProto(Output output, OutputFormat format) {
  v1::ReenactResponse response;
  if (output.kind == Output::Kind::kFrame) {
    v1::Frame* frame = response.mutable_frame();
    frame->set_index(output.first_frame);
    frame->set_data(std::move(output.data));
    frame->set_format(ToProto(format));
    frame->set_width(output.width);
    frame->set_height(output.height);
    frame->set_pts(output.pts);
    frame->mutable_time_base()->set_numerator(output.time_base_num);
    frame->mutable_time_base()->set_denominator(output.time_base_den);
    frame->set_repeated(output.repeated);
    return response;
  }
  if (output.kind == Output::Kind::kPoster) {
    v1::Poster* poster = response.mutable_poster();
    poster->set_jpeg(std::move(output.data));
    poster->set_width(output.width);
    poster->set_height(output.height);
    return response;
  }
  v1::VideoPiece* piece = response.mutable_video();
  piece->set_init_segment(output.kind == Output::Kind::kInitSegment);
  piece->set_data(std::move(output.data));
  piece->set_first_frame(output.first_frame);
  piece->set_num_frames(output.num_frames);
  piece->set_pts(output.pts);
  piece->mutable_time_base()->set_numerator(output.time_base_num);
  piece->mutable_time_base()->set_denominator(output.time_base_den);
  return response;
}

}  // namespace reenact
