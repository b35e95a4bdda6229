// What every measurement needs: clocks that tell a disturbed run, percentiles, memory, arrivals.
//
// Pure functions and small values; thread-safe unless stated.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact::bench {

// Seconds of a piece of work: by the wall, and of this process's processors, all threads together.
struct Elapsed {
  double wall = 0;
  double cpu = 0;

  // Share of the wall time that each of `threads` threads had a processor: about 1 in an
  // undisturbed run of work that keeps all of them busy, less if other processes had them.
  double CoresHad(int threads) const;

  // What a report calls seconds: with one thread the processor's time, which other processes
  // disturb little, else the wall's.
  double Seconds(int threads) const { return threads == 1 ? cpu : wall; }
};
// "cpu" or "wall": which of the two Elapsed::Seconds gives.
const char* ClockName(int threads);

class Stopwatch {
 public:
  Stopwatch();
  Elapsed elapsed() const;

 private:
  std::chrono::steady_clock::time_point wall_;
  double cpu_;
};

// The p-th percentile (0..100) of `values` in any order, linear between the two nearest ranks.
// `values` must not be empty.
double Percentile(std::vector<double> values, double p);
double Median(const std::vector<double>& values);

// Largest resident set of a process so far, in MiB; 0: there is no such process.
double PeakRssMb(pid_t pid);
// Of this process, since the last successful ResetPeakRss. Where the kernel does not allow the
// reset (returns false), since the start of the process.
double PeakRssMb();
bool ResetPeakRss();
// Processor seconds a process has used so far; none: there is no such process.
std::optional<double> CpuSeconds(pid_t pid);

// A reproducible stream of random numbers, the same on every machine (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  // In [0, 1).
  double Uniform();
  // In [0, n), n > 0.
  size_t Below(size_t n);

 private:
  uint64_t state_;
};

// Arrival times in seconds of a Poisson process of `rate` events a second: ascending, the first
// `max_events` of those before `seconds`. A pure function of its arguments.
std::vector<double> PoissonArrivals(double rate, double seconds, size_t max_events, uint64_t seed);

// "1,2,4" as numbers. kInvalidArgument names `flag`, the word and the range.
absl::StatusOr<std::vector<int>> ParseIntList(std::string_view flag, std::string_view text, int min,
                                              int max);
// "a,b" as words, each among `allowed`. kInvalidArgument names `flag`, the word and all of them.
absl::StatusOr<std::vector<std::string>> ParseWordList(std::string_view flag, std::string_view text,
                                                       const std::vector<std::string>& allowed);

// The whole file. kNotFound names it.
absl::StatusOr<std::string> ReadFileBytes(std::string_view flag, const std::string& path);

// A file of the demo folder, from build/PRESET/bin in a source tree or from bin/ where the product
// is installed; "" if it is in neither.
std::string FindDemoFile(const std::string& name);

}  // namespace reenact::bench
