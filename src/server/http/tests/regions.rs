//! Tensors in shared memory.

use std::path::Path;

use serde_json::json;
use tempfile::NamedTempFile;

use super::*;

/// A memory object with these bytes, and its key.
fn object(bytes: &[u8]) -> (NamedTempFile, String) {
    let file = tempfile::Builder::new().prefix("trt-pipeline-").tempfile_in("/dev/shm").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let key = format!("/{}", file.path().file_name().and_then(|name| name.to_str()).unwrap());
    (file, key)
}

fn register(server: &Server, name: &str, body: &Value) -> Answer {
    let path = format!("/v2/systemsharedmemory/region/{name}/register");
    server.post(&path, &[], body.to_string())
}

fn request(input: &Value, output: &Value) -> String {
    json!({
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": input}],
        "outputs": [{"name": "y", "parameters": output}],
    })
    .to_string()
}

#[test]
fn tensors_go_in_and_out_through_a_region() {
    let server = Server::new();
    let (file, key) = object(&[vec![0; 16], floats(&[1., 2., 3., 4.]), vec![0; 32]].concat());
    let region = json!({"key": key, "offset": 0, "byte_size": 64});
    let answer = register(&server, "r", &region);
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0), "{answer:?}");
    let listed = json!([{"name": "r", "key": key, "offset": 0, "byte_size": 64}]);
    assert_eq!(server.get("/v2/systemsharedmemory/status").json(), listed);
    assert_eq!(server.get("/v2/systemsharedmemory/region/r/status").json(), listed);

    let input = json!({"shared_memory_region": "r", "shared_memory_byte_size": 16,
        "shared_memory_offset": 16});
    let output = json!({"shared_memory_region": "r", "shared_memory_byte_size": 16,
        "shared_memory_offset": 48});
    let answer = server.infer(request(&input, &output));
    let expected = json!([{"name": "y", "datatype": "FP32", "shape": [1, 4]}]);
    assert_eq!(answer.json()["outputs"], expected);
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert_eq!(read(file.path())[48..], floats(&[2., 4., 6., 8.]));

    let small = json!({"shared_memory_region": "r", "shared_memory_byte_size": 15});
    let answer = server.infer(request(&input, &small));
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("do not hold the output's 16 bytes"), "{answer:?}");
    let answer = server.infer(request(&small, &json!({})));
    assert!(answer.error().contains("it has 15 bytes, a float32 [1,4] has 16"), "{answer:?}");
    for (offset, said) in [
        (json!(64), "are not a part of shared memory region `r`"),
        (json!(u64::MAX), "are not a part of shared memory region `r`"),
        (json!(-1), "`shared_memory_offset`: invalid value: integer `-1`"),
        (json!("0"), "`shared_memory_offset`: invalid type: string"),
    ] {
        let outside = json!({"shared_memory_region": "r", "shared_memory_byte_size": 16,
            "shared_memory_offset": offset});
        for body in [request(&outside, &output), request(&input, &outside)] {
            let answer = server.infer(body);
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.error().contains(said), "{answer:?}");
        }
    }
    assert_eq!(server.post("/v2/systemsharedmemory/region/r/unregister", &[], "").status, 200);
    assert_eq!(server.get("/v2/systemsharedmemory/status").json(), json!([]));
    let answer = server.infer(request(&input, &output));
    assert_eq!(answer.status, 404);
    assert!(answer.error().contains("unable to find shared memory region `r`"), "{answer:?}");
}

#[test]
fn regions_that_cannot_be_are_refused() {
    let server = Server::new();
    let (_file, key) = object(&[0; 64]);
    for (body, said) in [
        (json!({"byte_size": 64}), "the region has no `key`"),
        (json!({"key": key}), "the region has no `byte_size`"),
        (json!([]), "invalid type: sequence, expected a region"),
        (json!({"key": 1, "byte_size": 64}), "`key`: invalid type: integer `1`"),
        (json!({"key": key, "byte_size": -1}), "`byte_size`: invalid value: integer `-1`"),
        (json!({"key": key, "byte_size": 64, "offset": "0"}), "`offset`: invalid type: string"),
        (json!({"key": key, "byte_size": 65}), "ends before byte 65"),
        (json!({"key": "../../etc/passwd", "byte_size": 64}), "names no shared memory object"),
        (json!({"key": "/trt-pipeline-none", "byte_size": 64}), "unable to open"),
    ] {
        let answer = register(&server, "r", &body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.error().contains(said), "{body}: {}", answer.error());
    }
    assert_eq!(server.get("/v2/systemsharedmemory/region/r/status").status, 404);
    assert_eq!(server.post("/v2/systemsharedmemory/region/r/unregister", &[], "").status, 200);
    assert_eq!(server.post("/v2/systemsharedmemory/unregister", &[], "").status, 200);
    assert_eq!(server.get("/v2/systemsharedmemory/region/r/register").status, 405);
    assert_eq!(server.get("/v2/systemsharedmemory/nothing").status, 404);
}

#[test]
fn memory_of_devices_is_not_shared() {
    let server = Server::new();
    assert_eq!(server.get("/v2/cudasharedmemory/status").json(), json!([]));
    assert_eq!(server.post("/v2/cudasharedmemory/unregister", &[], "").status, 200);
    let answer = server.post("/v2/cudasharedmemory/region/r/register", &[], "{}");
    assert_eq!(answer.status, 501);
    assert!(answer.error().contains("CUDA shared memory is not supported"), "{answer:?}");
}
