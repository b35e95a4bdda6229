// Says how it was started, for idle_threads_test.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "pipeline/reenactor/idle_threads.h"

int main(int argc, char** argv) {
  reenact::LetIdleThreadsSleep(argv);
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  std::string name;
  std::getline(std::ifstream("/proc/self/comm"), name);
  std::cout << (policy == nullptr ? "unset" : policy) << " " << name;
  for (int i = 1; i < argc; ++i) std::cout << " " << argv[i];
  std::cout << "\n";
  return 7;
}
