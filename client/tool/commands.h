// The commands of `reenact`. Each returns the program's exit code and has told the user
// everything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/frame_source.h"
#include "client/tool/explain.h"
#include "client/tool/interruption.h"
#include "reenact/v1/reenact.pb.h"

namespace reenact::tool {

// Which server, and how to talk to the user.
struct CommonOptions {
  std::string server;       // empty: a private one
  std::string tenant;       // whose jobs, for a server that does not authenticate; empty: nobody's
  std::string bundle;       // for a private server; empty: the demo bundle
  std::string face_models;  // for a private server; empty: its default
  absl::Duration start_timeout = absl::Seconds(120);  // of a private server
  std::vector<std::string> server_arguments;          // more flags for a private server
  bool quiet = false;  // no progress, no summary; errors are still told
  bool json = false;   // the result as JSON on standard output
};

// A further face and who drives it, of a picture of its own or of that of RunOptions.
struct PairOptions {
  std::string source;                              // a file; empty: none
  std::string source_reference, driver_reference;  // as of RunOptions
  v1::FacePair pair;  // everything else; the source's picture is filled in by Run
};

struct RunOptions {
  std::string source;
  std::string driving;
  std::string source_reference, driver_reference;  // pictures of the person meant; empty: none
  std::vector<PairOptions> pairs;
  std::string output;                                       // a file, a folder, or "-"
  std::string poster;                                       // a file; empty: none
  v1::OutputFormat format = v1::OUTPUT_FORMAT_UNSPECIFIED;  // unspecified: by the name of `output`
  std::optional<int> quality;                               // CRF or JPEG quality, by the format
  absl::Duration deadline = absl::InfiniteDuration();
  // Everything else the user set; `source.image` or `source.video`, `output.format` and
  // `output.poster` are filled in by Run.
  v1::JobConfig config;
};

// Of `reenact live`: `driving` of RunOptions is a stream of JPEG files, "-" standard input; its
// config has what the user set of `live`, the time base is filled in.
struct LiveRunOptions {
  RunOptions run;
  JpegStreamOptions stream;
};

// Of `reenact extract-motion`.
struct ExtractMotionOptions {
  std::string driving;
  std::string driver_reference;  // a picture of the person meant; empty: none
  std::string output;            // a file, or "-"
  absl::Duration deadline = absl::InfiniteDuration();
  v1::ExtractMotionConfig config;
};

ExitCode Run(const CommonOptions& common, const RunOptions& options, Interruption& interruption);
// A first signal ends the driving, a second one the job.
ExitCode RunLive(const CommonOptions& common, const LiveRunOptions& options,
                 Interruption& interruption);
ExitCode ExtractMotion(const CommonOptions& common, const ExtractMotionOptions& options,
                       Interruption& interruption);
ExitCode ListModels(const CommonOptions& common, Interruption& interruption);
ExitCode ShowHealth(const CommonOptions& common);
ExitCode CancelJob(const CommonOptions& common, const std::string& job_id);

}  // namespace reenact::tool
