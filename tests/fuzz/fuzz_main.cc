// Runs a target: as libFuzzer's callbacks (REENACT_LIBFUZZER) or as a program of its own.
//
//   fuzz_X --write-seeds=FOLDER    writes the seeds as files
//   fuzz_X                         without libFuzzer: runs the seeds and mutations of them
//   fuzz_X FILE...                 runs files, such as a finding
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

constexpr std::string_view kWriteSeeds = "--write-seeds=";

// Whether the arguments ask for the seeds; then they are written.
bool WriteSeeds(int argc, char** argv) {
  if (argc != 2 || std::string_view(argv[1]).substr(0, kWriteSeeds.size()) != kWriteSeeds) {
    return false;
  }
  const std::filesystem::path folder(argv[1] + kWriteSeeds.size());
  std::filesystem::create_directories(folder);
  int index = 0;
  for (const std::string& seed : Seeds()) {
    Require(!seed.empty(), "a seed is not empty");
    std::ofstream(folder / ("seed" + std::to_string(index++)), std::ios::binary) << seed;
  }
  return true;
}

}  // namespace
}  // namespace reenact::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  reenact::fuzz::Run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}

#ifdef REENACT_LIBFUZZER

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (reenact::fuzz::WriteSeeds(*argc, *argv)) std::exit(0);
  return 0;
}

#else

namespace reenact::fuzz {
namespace {

// Of all seeds together. Enough for the obvious, quick enough for every run of the tests.
constexpr int kMutations = 600;

// One to four changes of the kinds that find the most: bytes, lengths, cuts, repeats.
std::string Mutate(std::string input, std::minstd_rand& random) {
  const auto below = [&random](size_t count) { return count == 0 ? 0 : random() % count; };
  const size_t num_changes = 1 + below(4);
  for (size_t i = 0; i < num_changes && !input.empty(); ++i) {
    const size_t at = below(input.size());
    switch (below(6)) {
      case 0:
        input[at] = static_cast<char>(below(256));
        break;
      case 1:
        input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 2: {
        constexpr char kExtremes[] = {'\0', '\x01', '\x7F', '\x80', '\xFF'};
        const char value = kExtremes[below(sizeof(kExtremes))];
        std::memset(input.data() + at, value, std::min<size_t>(1 + below(8), input.size() - at));
        break;
      }
      case 3:
        input.resize(at);
        break;
      case 4:
        input.erase(at, 1 + below(16));
        break;
      default: {
        const std::string piece = input.substr(at, 1 + below(64));
        input.insert(below(input.size()), piece);
        break;
      }
    }
  }
  return input;
}

void RunSeedsAndMutations() {
  const std::vector<std::string> seeds = Seeds();
  Require(!seeds.empty(), "a target has seeds");
  Run("");
  for (const std::string& seed : seeds) {
    Require(!seed.empty(), "a seed is not empty");
    Run(seed);
  }
  std::minstd_rand random(1);
  for (int i = 0; i < kMutations; ++i) Run(Mutate(seeds[i % seeds.size()], random));
  std::printf("%zu seeds and %d mutations of them\n", seeds.size(), kMutations);
}

}  // namespace
}  // namespace reenact::fuzz

int main(int argc, char** argv) {
  if (reenact::fuzz::WriteSeeds(argc, argv)) return 0;
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    reenact::fuzz::Run(bytes.str());
  }
  if (argc == 1) reenact::fuzz::RunSeedsAndMutations();
  return 0;
}

#endif
