// ZIP archives (MediaPipe's .task bundles).
#include "pipeline/face/zip.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/zip_builder.h"

namespace reenact::fuzz {
std::vector<std::string> Seeds() {
  const std::string text(300, 'a');
  std::vector<std::string> seeds;
  for (const bool deflated : {false, true}) {
    seeds.push_back(
        testing::ZipArchive({{.name = "a.txt", .text = "some text", .deflated = deflated},
                             {.name = "b", .text = text, .deflated = deflated}}));
  }
  for (const std::string& seed : seeds) Require(ReadZip(seed).ok(), "the seeds are archives");
  return seeds;
}

void Run(std::string_view input) {
  LooksLikeZip(input);
  const auto files = ReadZip(input);
  if (!files.ok()) RequireRefusal(files.status());
}

}  // namespace reenact::fuzz
