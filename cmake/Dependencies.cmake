# Everything that we link and did not write. All of it comes from the distribution or the language's registry.
find_package(Threads REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

find_package(Boost 1.81 CONFIG REQUIRED)
add_library(phx_boost INTERFACE)
target_link_libraries(phx_boost INTERFACE Boost::headers Threads::Threads)
# Asio's stand-alone fences are the one thing that the thread sanitizer cannot follow; its locks order the same memory.
if(PHX_SANITIZE MATCHES "thread")
  target_compile_definitions(phx_boost INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
add_library(phx_hwloc ALIAS PkgConfig::HWLOC)

find_package(prometheus-cpp REQUIRED CONFIG)
add_library(phx_prometheus ALIAS prometheus-cpp::core)

if(PHX_BUILD_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
endif()

# The Rust crate behind src/serve/text. Its target folder lies outside the build folder by default, so that a clean
# build of the C++ side does not pay for the crates again.
if(DEFINED ENV{PHX_CARGO_TARGET_DIR})
  set(PHX_CARGO_TARGET_DIR $ENV{PHX_CARGO_TARGET_DIR} CACHE PATH "Cargo's target folder")
else()
  set(PHX_CARGO_TARGET_DIR ${CMAKE_SOURCE_DIR}/build/cargo CACHE PATH "Cargo's target folder")
endif()
find_program(PHX_CARGO cargo REQUIRED)
file(GLOB_RECURSE phx_text_rust_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/rust/text/src/*.rs)
add_custom_command(
  OUTPUT ${PHX_CARGO_TARGET_DIR}/release/libphx_text.a
  COMMAND ${CMAKE_COMMAND} -E env --unset=MAKEFLAGS ${PHX_CARGO} build --release --locked -j 2
          --manifest-path ${CMAKE_SOURCE_DIR}/rust/text/Cargo.toml --target-dir ${PHX_CARGO_TARGET_DIR}
  DEPENDS ${phx_text_rust_sources} ${CMAKE_SOURCE_DIR}/rust/text/Cargo.toml ${CMAKE_SOURCE_DIR}/rust/text/Cargo.lock
  COMMENT "Building rust/text (tokenizers, templates)"
  USES_TERMINAL)
add_custom_target(phx_text_cargo DEPENDS ${PHX_CARGO_TARGET_DIR}/release/libphx_text.a)
add_library(phx_text_rust STATIC IMPORTED GLOBAL)
set_target_properties(phx_text_rust PROPERTIES
  IMPORTED_LOCATION ${PHX_CARGO_TARGET_DIR}/release/libphx_text.a
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/rust/text/include
  INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl")
add_dependencies(phx_text_rust phx_text_cargo)
