//! JSON, CSV and HTML.

use super::render::{Party, to_csv, to_html};
use super::*;

fn invoice() -> Invoice {
    let mut input = acme();
    input.tenant_names.insert("<b>prod</b>".to_owned(), "<i>production</i>".to_owned());
    input.rows = vec![UsageRow { tenant: "<b>prod</b>".to_owned(), ..samples(hour(1, 0), 10_001_250) }];
    input.credits = vec![Credit {
        id: "sla, October".to_owned(),
        kind: CreditKind::Sla,
        currency: Currency::Eur,
        left_micros: 9_000_000,
        granted_s: 0,
        expires_s: None,
    }];
    Invoice::compute(&input).unwrap()
}

#[test]
fn json_has_stable_names_and_comes_back() {
    let json = serde_json::to_value(invoice()).unwrap();
    assert_eq!(serde_json::from_value::<Invoice>(json.clone()).unwrap(), invoice());
    assert_eq!(json["month"], "2026-11");
    assert_eq!(json["status"], "draft");
    assert_eq!(json["currency"], "EUR");
    assert_eq!(json["total_micros"], 40_000_000);
    assert_eq!(
        json["lines"][2],
        serde_json::json!({
            "kind": "usage", "plan": "scale", "plan_version": 1, "meter": "samples", "tier": 2, "quantity": 1250,
            "unit_price_micros": 100_000, "per": 1_000_000,
            "period": { "start_s": 1_793_491_200, "end_s": 1_796_083_200 }, "amount_micros": 125,
        })
    );
    assert_eq!(
        json["breakdown"]["by_tenant"][0]["cause"],
        serde_json::json!({ "kind": "named", "name": "<b>prod</b>" })
    );
    assert_eq!(json["breakdown"]["by_tenant"][0]["label"], "<i>production</i>");
    assert_eq!(json["breakdown"]["by_tenant"][1]["cause"], serde_json::json!({ "kind": "fixed" }));
    let input = serde_json::to_value(acme()).unwrap();
    assert_eq!(serde_json::from_value::<InvoiceInput>(input).unwrap(), acme());
}

#[test]
fn csv_sums_to_the_total() {
    let csv = to_csv(&invoice(), Some(1_793_500_000_999));
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(
        rows[0],
        "kind,month,adjusts,plan,plan_version,description,quantity,unit,unit_price,per,start_s,end_s,amount,currency,as_of_s"
    );
    assert_eq!(
        rows[3],
        "usage,2026-11,,scale,1,\"samples, tier 2\",1250,samples,0.10,1000000,1793491200,1796083200,0.000125,EUR,1793500000"
    );
    assert_eq!(
        rows[4..],
        [
            "credit,2026-11,,,,\"sla, October\",,,,,,,-9.00,EUR,1793500000",
            "rounding,2026-11,,,,to a payable amount,,,,,,,-0.000125,EUR,1793500000",
            "total,2026-11,,,,to be paid,,,,,,,40.00,EUR,1793500000",
        ]
    );
}

#[test]
fn html_escapes_everything_and_loads_nothing() {
    let evil = |text: &str| Party {
        name: format!("{text}<script>"),
        details: "1 \"Main\" St\nCity & Co".to_owned(),
    };
    let html = to_html(&invoice(), "2026-<1>", Some(1_793_500_000_999), &evil("From"), &evil("To"));
    assert!(html.contains("usage as of 2026-11-01 02:26:40 UTC"));
    assert!(html.contains("Invoice 2026-&lt;1&gt; <span class=\"draft\">Draft</span>"));
    assert!(html.contains("To&lt;script&gt;") && html.contains("City &amp; Co"));
    assert!(
        html.contains("&lt;i&gt;production&lt;/i&gt; (&lt;b&gt;prod&lt;/b&gt;)") && !html.contains("<b>prod")
    );
    for loading in ["<script", "<link", "<img", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(loading), "{loading}");
    }
    assert!(
        html.contains("<td class=\"number\">0.000125</td>")
            && html.contains("<td class=\"number\">40.00 EUR</td>")
    );
    assert!(!to_html(&invoice().finalised(), "1", None, &evil(""), &evil("")).contains("Draft"));
}

#[test]
fn a_long_breakdown_is_cut_on_paper_only() {
    let mut input = acme();
    input.rows = (0..40)
        .map(|tenant| UsageRow { tenant: format!("t{tenant:02}"), ..samples(hour(1, 0), 1_000_000) })
        .collect();
    let invoice = Invoice::compute(&input).unwrap();
    assert_eq!(invoice.breakdown.by_tenant.len(), 41);
    let party = Party { name: String::new(), details: String::new() };
    assert!(to_html(&invoice, "1", None, &party, &party).contains("<em>29 more</em>"));
}

#[test]
fn an_invoice_that_somebody_made_up_is_shown_as_it_is() {
    let mut made_up = invoice();
    made_up.lines[0].quantity = i64::MIN;
    made_up.lines[0].unit_price_micros = u64::MAX;
    made_up.lines[0].per = 0;
    made_up.lines[0].amount_micros = i64::MIN;
    made_up.lines[0].period = Span { start_s: i64::MAX, end_s: i64::MIN };
    made_up.credits[0].applied_micros = u64::MAX;
    made_up.total_micros = i64::MIN;
    made_up.breakdown.by_tenant = vec![made_up.breakdown.by_tenant[0].clone(); 50];
    for part in &mut made_up.breakdown.by_tenant {
        part.charge_micros = i64::MIN;
    }
    let party = Party { name: String::new(), details: String::new() };
    assert!(to_csv(&made_up, None).contains("-9223372036854.775808"));
    assert!(to_html(&made_up, "1", None, &party, &party).contains("-9,223,372,036,854.775808"));
    assert_eq!(SpendStatus::of(&made_up, 1).reached_percent, 0);
    assert!(verify(&made_up, &acme()).unwrap().len() > 10);
    let mut next = acme();
    next.month = november().next().unwrap();
    next.billed = vec![BilledMonth::from_invoices(november(), [&made_up])];
    assert!(matches!(Invoice::compute(&next), Err(BillingError::TooLarge { .. })));
}
