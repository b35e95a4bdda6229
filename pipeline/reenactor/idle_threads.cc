#include "pipeline/reenactor/idle_threads.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace reenact {

void LetIdleThreadsSleep(char** argv) {
  constexpr char kPolicy[] = "OMP_WAIT_POLICY";
  if (std::getenv(kPolicy) != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  // The file's own name, as it names the process too.
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || setenv(kPolicy, "passive", 0) != 0) return;
  execv(program.c_str(), argv);
}

}  // namespace reenact
