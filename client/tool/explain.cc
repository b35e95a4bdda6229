#include "client/tool/explain.h"

#include <array>
#include <optional>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/job_stream.h"

namespace reenact::tool {
namespace {

// Fields of JobConfig as a server names them, and the flag that sets each.
struct FieldFlag {
  absl::string_view field;
  absl::string_view flag;
};
constexpr std::array<FieldFlag, 31> kFlags = {{
    // Before the fields that a pair has too.
    {"further_faces", "--pair"},
    {"num_steps", "--steps"},
    {"ddim_eta", "--eta"},
    {"guidance_scale", "--guidance"},
    {"sequence_plan", "--plan"},
    {"no_face_policy", "--no-face"},
    {"edit_strength", "--strength"},
    {"source.edit", "--edit"},
    {"jpeg_quality", "--quality"},
    {"copy_audio", "--no-audio"},
    {"sampler", "--sampler"},
    {"output.size", "--size"},
    {"source.text", "--text"},
    {"crf", "--quality"},
    {"seed", "--seed"},
    {"motion.mode", "--motion"},
    {"motion.strength", "--motion-strength"},
    {"motion.pose", "--motion-pose"},
    {"motion.mouth", "--motion-mouth"},
    {"motion.eyes", "--motion-eyes"},
    {"motion.gaze", "--motion-gaze"},
    {"source_expression", "--source-expression"},
    {"smoothing", "--smoothing"},
    {"source.face", "--source-face"},
    {"driver_face", "--driver-face"},
    {"output.codec", "--codec"},
    {"output.speed", "--encoding-speed"},
    {"output.composition", "--paste-back"},
    {"output.matte", "--matte"},
    {"live.max_wait", "--max-wait"},
    {"live.time_base", "--fps"},
}};

bool Mentions(const absl::Status& status, absl::string_view word) {
  return absl::StrContains(absl::AsciiStrToLower(status.message()), word);
}

// The line that says which input the server speaks of; empty if that is not to be told from its
// message.
std::string Where(const absl::Status& status, const JobNames& names) {
  for (const FieldFlag& known : kFlags) {
    if (Mentions(status, known.field)) return absl::StrCat("That is set with ", known.flag, ".");
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
