#include "tests/bench/measure.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace reenact::bench {
namespace {

namespace fs = std::filesystem;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

double ProcessCpuSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// VmHWM of /proc/PID/status in MiB; 0: not there.
double HighWaterMb(const std::string& path) {
  std::ifstream in(path);
  std::string word;
  while (in >> word) {
    double kib = 0;
    if (word == "VmHWM:" && in >> kib) return kib / 1024;
  }
  return 0;
}

}  // namespace

double Elapsed::CoresHad(int threads) const { return wall > 0 ? cpu / wall / threads : 0; }

const char* ClockName(int threads) { return threads == 1 ? "cpu" : "wall"; }

Stopwatch::Stopwatch() : wall_(std::chrono::steady_clock::now()), cpu_(ProcessCpuSeconds()) {}

Elapsed Stopwatch::elapsed() const {
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - wall_;
  return {wall.count(), ProcessCpuSeconds() - cpu_};
}

double Percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const double rank = std::clamp(p, 0.0, 100.0) / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (rank - static_cast<double>(below)) * (values[above] - values[below]);
}

double Median(const std::vector<double>& values) { return Percentile(values, 50); }

double PeakRssMb(pid_t pid) { return HighWaterMb(absl::StrCat("/proc/", pid, "/status")); }

double PeakRssMb() {
  if (const double mb = HighWaterMb("/proc/self/status"); mb > 0) return mb;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

bool ResetPeakRss() {
  std::ofstream out("/proc/self/clear_refs");
  out << "5" << std::flush;  // proc(5): resets the peak resident set size
  return out.good();
}

std::optional<double> CpuSeconds(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  // The second field is the program's name in parentheses and may hold anything; utime and stime
  // are the 12th and 13th after it.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t Random::Next() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

size_t Random::Below(size_t n) {
  return std::min(n - 1, static_cast<size_t>(Uniform() * static_cast<double>(n)));
}

std::vector<double> PoissonArrivals(double rate, double seconds, size_t max_events, uint64_t seed) {
  Random random(seed);
  std::vector<double> times;
  double now = 0;
  while (times.size() < max_events) {
    now -= std::log1p(-random.Uniform()) / rate;
    if (now >= seconds) break;
    times.push_back(now);
  }
  return times;
}

absl::StatusOr<std::vector<int>> ParseIntList(std::string_view flag, std::string_view text, int min,
                                              int max) {
  std::vector<int> numbers;
  for (const absl::string_view word : absl::StrSplit(View(text), ',')) {
    int number = 0;
    if (!absl::SimpleAtoi(word, &number) || number < min || number > max) {
      return absl::InvalidArgumentError(absl::StrCat(View(flag), ": \"", word,
                                                     "\" is not a number from ", min, " to ", max,
                                                     " (several are written 1,2,4)"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> ParseWordList(std::string_view flag, std::string_view text,
                                                       const std::vector<std::string>& allowed) {
  std::vector<std::string> words;
  for (const absl::string_view part : absl::StrSplit(View(text), ',')) {
    const std::string word(absl::StripAsciiWhitespace(part));
    if (std::find(allowed.begin(), allowed.end(), word) == allowed.end()) {
      return absl::InvalidArgumentError(absl::StrCat(View(flag), ": \"", word, "\" is not one of ",
                                                     absl::StrJoin(allowed, ", ")));
    }
    words.push_back(word);
  }
  return words;
}

absl::StatusOr<std::string> ReadFileBytes(std::string_view flag, const std::string& path) {
  std::error_code ignored;
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path, ignored)) {
    return absl::NotFoundError(absl::StrCat(View(flag), ": cannot read the file \"", path, "\""));
  }
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

std::string FindDemoFile(const std::string& name) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  // bin/ and, for the tests of this program, tests/ are beside each other.
  for (const char* relative : {"../../../demo", "../share/reenact/demo"}) {
    const fs::path file = (program / relative / name).lexically_normal();
    if (fs::exists(file, ignored)) return file.string();
  }
  return "";
}

}  // namespace reenact::bench
