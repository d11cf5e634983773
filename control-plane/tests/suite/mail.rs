//! Mails reach a mail server as they were written.

use control_plane::mail::{SmtpError, SmtpMailer};
use control_plane::ports::{Mail, Mailer as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A mail server that takes one mail, or refuses everybody; gives back the lines of the conversation.
async fn server(listener: TcpListener, takes: bool) -> Vec<String> {
    let (connection, _) = listener.accept().await.unwrap();
    let (reader, mut writer) = connection.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 mail.example.com\r\n").await.unwrap();
    let mut said = Vec::new();
    let mut in_mail = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match line.as_str() {
            "." => {
                in_mail = false;
                b"250 taken\r\n"
            }
            _ if in_mail => b"",
            "DATA" => {
                in_mail = true;
                b"354 go on\r\n"
            }
            line if line.starts_with("RCPT") && !takes => b"550 nobody here\r\n",
            _ => b"250 fine\r\n",
        };
        let quits = line == "QUIT";
        said.push(line);
        if writer.write_all(answer).await.is_err() || quits {
            break;
        }
    }
    said
}

fn mail() -> Mail {
    Mail {
        to: "grace@example.com".to_owned(),
        subject: "Choose a new password".to_owned(),
        text: format!("Open this link:\n\nhttps://farwatch.example.com/reset#token={}\n", "x".repeat(43)),
    }
}

#[tokio::test]
async fn a_mail_server_gets_the_link_in_one_piece() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mailer = SmtpMailer::new(&url, "Farwatch <farwatch@example.com>").unwrap();
    let server = tokio::spawn(server(listener, true));
    mailer.send(&mail()).await.unwrap();
    drop(mailer);
    // Quoted-printable: a long line goes in several, each but the last with '=' at its end.
    let said = server.await.unwrap().join("\n").replace("=\n", "").replace("=3D", "=");
    let said: Vec<&str> = said.lines().collect();
    for wanted in [
        "MAIL FROM:<farwatch@example.com>",
        "RCPT TO:<grace@example.com>",
        "Subject: Choose a new password",
        "From: Farwatch <farwatch@example.com>",
        "Content-Type: text/plain; charset=utf-8",
        &format!("https://farwatch.example.com/reset#token={}", "x".repeat(43)),
    ] {
        assert!(said.iter().any(|line| line.starts_with(wanted)), "no {wanted:?} in {said:#?}");
    }
}

#[tokio::test]
async fn a_mail_that_is_refused_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mailer = SmtpMailer::new(&url, "farwatch@example.com").unwrap();
    let server = tokio::spawn(server(listener, false));
    assert!(mailer.send(&mail()).await.is_err());
    drop(mailer);
    server.await.unwrap();
}

#[test]
fn a_url_that_is_none_is_refused_without_being_repeated() {
    for bad in ["", "mail.example.com", "http://mail.example.com", "smtp://ada:hidden@"] {
        let error = SmtpMailer::new(bad, "farwatch@example.com").unwrap_err();
        assert!(matches!(error, SmtpError::Url), "{bad}");
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
    let error = SmtpMailer::new("smtp://mail.example.com", "nobody").unwrap_err();
    assert!(matches!(error, SmtpError::From));
}
