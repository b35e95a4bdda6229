#include "client/tool/explain.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/job_stream.h"

namespace reenact::tool {
namespace {

// A field of JobConfig or ExtractMotionConfig as a server names it, or a value of an enum, and the
// flag that sets it. A name that ends in * stands for all names that begin so, and one that ends in
// .* also for what is before the dot.
struct FieldFlag {
  absl::string_view field;
  absl::string_view flag;
};
constexpr FieldFlag kFlags[] = {
    {"model", "--model"},
    {"source.image", "--source"},
    {"source.video", "--source"},
    {"source.text", "--text"},
    {"source.edit.*", "--edit"},
    {"source.edit_strength", "--strength"},
    {"source.face.*", "--source-face"},
    {"further_faces*", "--pair"},
    {"driver_face.*", "--driver-face"},
    {"seed", "--seed"},
    {"num_steps", "--steps"},
    {"sampler", "--sampler"},
    {"ddim_eta", "--eta"},
    {"guidance_scale", "--guidance"},
    {"sequence_plan", "--plan"},
    {"long_video_method", "--method"},
    {"window", "--window or --overlap"},
    {"window.frames", "--window"},
    {"window.overlap", "--overlap"},
    {"anchor_placement", "--anchors"},
    {"no_face_policy", "--no-face"},
    {"priority", "--priority"},
    {"idempotency_key", ""},
    {"smoothing", "--smoothing"},
    {"motion.mode", "--motion"},
    {"motion.strength", "--motion-strength"},
    {"motion.pose", "--motion-pose"},
    {"motion.mouth", "--motion-mouth"},
    {"motion.eyes", "--motion-eyes"},
    {"motion.gaze", "--motion-gaze"},
    {"motion.source_expression", "--source-expression"},
    {"output.format", "--format"},
    {"output.size", "--size"},
    {"output.crf", "--quality"},
    {"output.jpeg_quality", "--quality"},
    {"output.quality", ""},
    {"output.speed", "--encoding-speed"},
    {"output.codec", "--codec"},
    {"output.composition", "--paste-back"},
    {"output.copy_audio", "--no-audio"},
    {"output.poster", "--poster"},
    {"output.matte", "--matte"},
    {"live.time_base.*", "--fps"},
    {"live.skip_policy", "--skip"},
    {"live.max_wait.*", "--max-wait"},
    {"copy_audio", "--no-audio"},
    {"SAMPLER_*", "--sampler"},
    {"SEQUENCE_PLAN_*", "--plan"},
    {"LONG_VIDEO_METHOD_*", "--method"},
    {"ANCHOR_PLACEMENT_*", "--anchors"},
    {"NO_FACE_POLICY_*", "--no-face"},
    {"MOTION_MODE_*", "--motion"},
    {"OUTPUT_FORMAT_*", "--format"},
    {"VIDEO_CODEC_*", "--codec"},
    {"ENCODING_QUALITY_*", ""},
    {"ENCODING_SPEED_*", "--encoding-speed"},
    {"COMPOSITION_*", "--paste-back"},
    {"MATTE_*", "--matte"},
    {"SKIP_POLICY_*", "--skip"},
};

bool Mentions(const absl::Status& status, absl::string_view word) {
  return absl::StrContains(absl::AsciiStrToLower(status.message()), word);
}

// Takes the name at the beginning of `text`, as in "further_faces[0].source.edit: ...".
absl::string_view TakeName(absl::string_view& text) {
  size_t size = 0;
  while (size < text.size() &&
         (absl::ascii_isalnum(text[size]) || absl::StrContains("_.[]", text[size]))) {
    ++size;
  }
  const absl::string_view name = text.substr(0, size);
  text.remove_prefix(size);
  // The end of a sentence is no part of it.
  return absl::StripSuffix(name, ".");
}

bool IsEnumValue(absl::string_view name) {
  return absl::StrContains(name, '_') && absl::ascii_isupper(name.front());
}

// What a server's message names, each with its flag, in the order of the text and no flag twice:
// the field that each of its problems begins with, and all values of enums. Beside a problem's own
// field others may be named that it has to do with; those are not meant.
std::vector<FieldFlag> NamedFlags(absl::string_view message) {
  std::vector<FieldFlag> named;
  for (absl::string_view problem : absl::StrSplit(message, "; ")) {
    bool first = true;
    while (!problem.empty()) {
      const absl::string_view name = TakeName(problem);
      if (name.empty()) {
        problem.remove_prefix(1);
        continue;
      }
      if (std::exchange(first, false) || IsEnumValue(name)) {
        const absl::string_view flag = FlagOf(name).value_or("");
        const bool is_new = std::none_of(named.begin(), named.end(),
                                         [&](const FieldFlag& one) { return one.flag == flag; });
        if (!flag.empty() && is_new) named.push_back({name, flag});
      }
    }
  }
  return named;
}

// The line that says which input the server speaks of; empty if that is not to be told from its
// message.
std::string Where(const absl::Status& status, const JobNames& names) {
  const std::vector<FieldFlag> named = NamedFlags(status.message());
  const bool is_source = named.size() == 1 && named.front().flag == "--source";
  if (named.size() == 1 && !(is_source && !names.source.empty())) {
    return absl::StrCat("That is set with ", named.front().flag, ".");
  }
  if (named.size() > 1) {
    return absl::StrCat(absl::StrJoin(named, ", ",
                                      [&](std::string* out, const FieldFlag& one) {
                                        absl::StrAppend(out, one.field,
                                                        out->empty() ? " is set with " : " with ",
                                                        one.flag);
                                      }),
                        ".");
  }
  if (Mentions(status, "source") && !names.source.empty()) {
    return absl::StrCat("The source is ", names.source, ".");
  }
  if ((Mentions(status, "driving") || Mentions(status, "video") || Mentions(status, "frame")) &&
      !names.driving.empty()) {
    return absl::StrCat("The driving video is ", names.driving, ".");
  }
  return "";
}

std::string WhatToDo(const absl::Status& status, const JobNames& names) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return "Use a picture in which one face is large and well lit, seen from the front.";
    case absl::StatusCode::kNotFound:
      return Mentions(status, "model") ? "`reenact models` lists what the server has." : "";
    case absl::StatusCode::kResourceExhausted: {
      if (const std::optional<absl::Duration> delay = RetryDelay(status)) {
        return absl::StrCat("Try again in ", absl::FormatDuration(*delay), ".");
      }
      if (Mentions(status, "larger than max")) {
        return absl::StrCat("The source image ", names.source,
                            " is too large for the server; make it smaller.");
      }
      return "`reenact models` lists the server's limits.";
    }
    case absl::StatusCode::kUnavailable:
      return names.server.empty() ? ""
                                  : "Is a reenactd running there? Without --server, `reenact run` "
                                    "starts a private one.";
    case absl::StatusCode::kDeadlineExceeded:
      if (Mentions(status, "no driving media came")) {
        return "The driving stream was silent for longer than the server waits.";
      }
      return "Give it more time with --deadline, or less work with --steps.";
    case absl::StatusCode::kInternal:
      return "This is a fault of the server, not of your files; its log has more.";
    default:
      return "";
  }
}

}  // namespace

std::optional<absl::string_view> FlagOf(absl::string_view name) {
  for (const FieldFlag& known : kFlags) {
    absl::string_view field = known.field;
    if (!absl::ConsumeSuffix(&field, "*")) {
      if (name == field) return known.flag;
    } else if (absl::StartsWith(name, field) || absl::StrCat(name, ".") == field) {
      return known.flag;
    }
  }
  return std::nullopt;
}

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kPermissionDenied:
      return kBadInput;
    case absl::StatusCode::kResourceExhausted:
      // A full queue says when to try again; otherwise the media is over a limit.
      return RetryDelay(status).has_value() ? kJobFailed : kBadInput;
    case absl::StatusCode::kUnavailable:
      return kNoServer;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return kInterrupted;
    default:
      return kJobFailed;
  }
}

std::string Explain(const absl::Status& status, const JobNames& names) {
  std::string text(status.message());
  if (text.empty()) text = absl::StatusCodeToString(status.code());
  if (ExitCodeFor(status) == kBadInput) {
    if (const std::string where = Where(status, names); !where.empty()) {
      absl::StrAppend(&text, "\n", where);
    }
  }
  if (const std::string advice = WhatToDo(status, names); !advice.empty()) {
    absl::StrAppend(&text, "\n", advice);
  }
  return text;
}

}  // namespace reenact::tool
