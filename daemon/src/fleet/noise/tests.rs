//! Both ends of a connection on loopback, and bytes that no honest end would send.

use tokio::net::TcpListener;

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 64])
}

/// Both ends of a handshake in which each side has a key.
async fn shake(one: [u8; 32], other: [u8; 32]) -> [Result<Secured, HandshakeError>; 2] {
    let (caller, mut called) = pair().await;
    let answering = async {
        let (theirs, said) = greeted(&mut called).await?;
        let ours = Preamble::ours(said.purpose, Answer::GoOn, said.id);
        answer(called, &identity(2), theirs, ours, Some(&other)).await
    };
    let first = identity(1);
    let calling = call(caller, &first, (Purpose::Peer, [9; 4]), &one);
    let (one, other) = tokio::join!(calling, answering);
    [one, other]
}

#[tokio::test]
async fn each_side_learns_the_others_key_and_frames_go_through() {
    let [one, other] = shake([7; 32], [7; 32]).await;
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.remote, identity(2).handshake_public());
    assert_eq!(other.remote, identity(1).handshake_public());
    // Over several messages, exactly one, none.
    for size in [0, 1, CHUNK - 4, CHUNK - 3, 3 * CHUNK, MAX_FRAME] {
        let frame = Bytes::from(vec![7; size]);
        let (sent, heard) = tokio::join!(one.frames.send(frame.clone()), other.frames.next());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), frame, "{size}");
    }
    let large = Bytes::from(vec![7; MAX_FRAME + 1]);
    assert!(one.frames.send(large).await.is_err());
}

#[tokio::test]
async fn another_key_proves_nothing_and_both_sides_know() {
    let [one, other] = shake([7; 32], [8; 32]).await;
    assert!(matches!(one, Err(HandshakeError::NotProven)));
    assert!(matches!(other, Err(HandshakeError::NotProven)));
}

#[tokio::test]
async fn hostile_lengths_and_changed_bytes_end_it_before_anything_grows() {
    let [one, other] = shake([7; 32], [7; 32]).await;
    let (mut one, other) = (one.unwrap().frames, other.unwrap().frames);
    let (mut sealed, mut bytes) = (other.into_parts().codec, BytesMut::new());
    // A message shorter than its seal.
    assert!(sealed.decode(&mut BytesMut::from(&[0u8, 15][..])).is_err());
    // A member that announces four gigabytes.
    let codec = one.codec_mut();
    let mut message = vec![0; 4 + TAG];
    codec.noise.write_message(&[0xff; 4], &mut message).unwrap();
    bytes.put_u16(message.len() as u16);
    bytes.extend_from_slice(&message);
    assert!(sealed.decode(&mut bytes).unwrap_err().to_string().contains("8 MiB"));
    assert!(sealed.plain.capacity() < 1 << 20);

    let [one, other] = shake([7; 32], [7; 32]).await;
    let (mut one, other) = (one.unwrap().frames, other.unwrap().frames);
    let (mut sealed, mut bytes) = (other.into_parts().codec, BytesMut::new());
    one.codec_mut().encode(Bytes::from_static(b"hello"), &mut bytes).unwrap();
    bytes[8] ^= 1;
    assert!(sealed.decode(&mut bytes).unwrap_err().to_string().contains("seal"));
}
