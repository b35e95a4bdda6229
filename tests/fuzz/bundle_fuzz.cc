// bundle.json.
#include <map>

#include "pipeline/engine/bundle.h"
#include "pipeline/engine/random_bundle.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {

std::vector<std::string> Seeds() {
  const std::string file = BundleConfigToJson(SmallBundleConfig(), {});
  Require(BundleConfigFromJson(file, nullptr).ok(), "the first seed is a bundle.json");
  return {file, R"({"format_version":1,"name":"a","sdit":{},"files":{"x":"y"}})", "[1,2,{}]"};
}

void Run(std::string_view input) {
  std::map<std::string, std::string> files;
  const auto config = BundleConfigFromJson(std::string(input), &files);
  if (!config.ok()) return RequireRefusal(config.status());
  // What was accepted says the same when it is written and read again.
  const std::string text = BundleConfigToJson(*config, files);
  const auto again = BundleConfigFromJson(text, nullptr);
  Require(again.ok(), "what is written can be read");
  Require(BundleConfigToJson(*again, files) == text, "what is read again is the same");
}

}  // namespace reenact::fuzz
